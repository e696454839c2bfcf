"""The part of rate limits that one process holds, where several gates count them together in one store.

The store keeps a limit's bucket; each process takes from it what a call needs and a slice besides, and serves from what
it holds in hand, so that most calls ask nobody. All slices together are taken out of the bucket's size once and for
all: what lies in the store and in every hand is never more than the limit, whoever dies with a slice or forgets to give
it back. What was used beyond the hand is owed and told with the next question. While the store is out, a process grants
to itself what its part of the limit has filled since the store last answered, beginning with nothing: all of them
together stay within what the bucket would have filled. The store's own arithmetic stands in `proxy.shared.grant`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Final

from msgspec import Struct

from policies.rate_limit import SPAN_S, Account, Bucket, Rates

SLICE_S: Final = 1.0  # of the limit's own pace may be in one hand
HANDS_SHARE: Final = 0.1  # of the limit may be in all hands
IDLE_S: Final = 2.0  # unused for so long, what is in hand goes back
AGAIN_S: Final = 0.25  # a limit that had nothing left is not asked again before


class Ask(Struct, frozen=True):
    """What one bucket of the store is told and asked. All amounts are whole."""

    name: str
    interval_s: float  # that one takes to fill
    room: int  # the bucket's size
    need: int  # without which the call does not go
    extra: int  # that would do, too
    debit: int  # used without having been granted; below zero: granted and not used
    back: int  # debited by an estimate that was too high
    back_age_s: float  # since the oldest of them was debited


class Told(Struct, frozen=True):
    """The answer. `level`: what is left there, below zero after a debt; `wait_s`: until what was needed is there."""

    got: int
    level: int
    wait_s: float


class Slice(Bucket):
    """One limit as one of `holders` processes sees it: what is left of it, by the store's last word, and what of that
    is in hand."""

    __slots__ = (
        *("again_at", "back", "back_since", "dry_from", "dry_until", "hand", "holders", "name", "owed", "own"),
        *("own_since", "promised", "sent", "size", "unused", "used_at"),
    )

    def __init__(self, name: str, limit: int, holders: int) -> None:
        super().__init__(limit)
        self.name = name
        self.holders = holders
        self.size = int(min(limit * SLICE_S / SPAN_S, limit * HANDS_SHARE / holders))
        self.hand = 0
        self.promised = 0  # of it, to calls that have asked for the rest of what they need
        self.owed = self.sent = 0  # `sent`: owed, told, and not yet confirmed
        self.unused = 0  # granted, and to go back
        self.back = 0
        self.back_since = inf
        self.own = Bucket(limit / holders)  # for while the store is out
        self.own_since = -inf
        self.dry_from, self.dry_until = inf, -inf  # so much or more was refused, until then
        self.again_at = self.used_at = -inf

    def __repr__(self) -> str:
        return f"Slice({self.name}, {self.hand} of {self.limit:g} in hand, {self.owed} owed)"

    @property
    def low(self) -> bool:
        """Whether more should be fetched before a call has to wait for it."""
        return self.hand * 2 < self.size

    @property
    def settled(self) -> bool:
        return not (self.hand or self.owed or self.unused or self.back or self.sent)

    @property
    def free(self) -> int:
        """In hand, and promised to nobody."""
        return self.hand - self.promised

    # --- what calls do -----------------------------------------------------------------------------------------------

    def take(self, amount: float, now: float) -> None:
        """Not more than is in hand."""
        self.hand -= int(amount)
        self.used_at = now
        super().take(amount, now)

    def correct(self, amount: float, taken_at: float, now: float) -> None:
        """What is given back goes to the store, which knows whether its bucket has been full since."""
        whole = int(amount)
        if whole <= 0:
            self.back -= whole
            self.back_since = min(self.back_since, taken_at)
            return
        paid = min(whole, self.hand)
        self.hand -= paid
        self.owed += whole - paid
        self.own.take(whole - paid, now)
        super().take(whole, now)

    def wait_s(self, amount: float, now: float) -> float:
        """0 also where it is not known: the store can be asked."""
        if amount <= self.hand or amount < self.dry_from:
            return 0.0
        return max(0.0, self.dry_until - now)

    def dry(self, amount: int, now: float) -> bool:
        """Whether asking would be in vain: it has been asked just now."""
        return amount >= self.dry_from and now < min(self.dry_until, self.again_at)

    # --- what the store is asked, and says ---------------------------------------------------------------------------

    def ask(self, amount: int, now: float) -> Ask:
        """For a call that takes `amount`; 0: for the slice alone. `heard` or `unheard` follows."""
        there = max(0, self.free)
        extra = 0 if self.promised else max(0, self.size - max(0, there - amount))
        self.promised += amount
        return self._say(max(0, amount - there), extra, now)

    def settle(self, now: float, *, all_of_it: bool = False) -> Ask | None:
        """What is to be told although no call asks: what is owed, and what lies idle. None: nothing."""
        if all_of_it or (now - self.used_at > IDLE_S and not self.promised):
            self.unused, self.hand = self.unused + self.hand, 0
        return self._say(0, 0, now) if self.owed or self.unused or self.back else None

    def heard(self, ask: Ask, told: Told, now: float) -> None:
        self.sent = self.promised = 0
        self.hand += told.got
        short = told.got < ask.need
        self.dry_from, self.dry_until = (ask.need, now + told.wait_s) if short else (inf, -inf)
        if told.got < ask.need + ask.extra:
            self.again_at = now + AGAIN_S
        self.set_level(told.level + self.hand, now)

    def unheard(self) -> None:
        """Nobody knows whether it was done. What was owed is told again: that can only count too much."""
        self.owed += self.sent
        self.sent = self.promised = 0

    def spill(self) -> None:
        """No hand keeps more than a slice: what was granted to a call that has left goes back."""
        if self.hand > self.size and not self.promised:
            self.unused, self.hand = self.unused + self.hand - self.size, self.size

    def _say(self, need: int, extra: int, now: float) -> Ask:
        """What is given back is gone from here, as it must not be given back twice; what is owed is not forgotten
        before the store has confirmed it."""
        age_s = now - self.back_since if self.back else 0.0
        room = int(self.limit) - self.size * self.holders
        asked = Ask(self.name, self.interval_s, room, need, extra, self.owed - self.unused, self.back, age_s)
        self.sent += self.owed
        self.owed = self.unused = self.back = 0
        self.back_since = inf
        return asked

    # --- while the store is out --------------------------------------------------------------------------------------

    def alone(self, since: float) -> None:
        """The store has been out since then, as far as this process knows."""
        if self.own_since < since:
            self.own_since = since
            self.own.set_level(0.0, since)

    def alone_wait_s(self, amount: int, now: float) -> float:
        need = amount - self.hand
        return self.own.wait_s(need, now) if need > 0 else 0.0

    def alone_take(self, amount: int, now: float) -> None:
        """From its own part into the hand, and owed to the store."""
        need = max(0, amount - self.hand)
        self.own.take(need, now)
        self.hand += need
        self.owed += need
        self.set_level(max(0.0, self.own.level(now)) + self.hand, now)

    def alone_refuse(self, amount: int, now: float) -> None:
        self.dry_from, self.dry_until, self.again_at = amount, now + self.alone_wait_s(amount, now), now
        self.set_level(max(0.0, self.own.level(now)) + self.hand, now)

    # --- another limit -----------------------------------------------------------------------------------------------

    def resized(self, limit: float, now: float) -> Slice:
        """What is owed stays owed, and what is being told just now too."""
        other = Slice(self.name, int(limit), self.holders)
        other.hand, other.owed = min(self.hand, other.size), self.owed + self.sent
        other.back, other.back_since, other.used_at = self.back, self.back_since, self.used_at
        other.own, other.own_since = self.own.resized(limit / self.holders, now), self.own_since
        other.full_at = super().resized(limit, now).full_at
        return other


class SharedAccount(Account):
    """An account whose requests and tokens are counted over all gates; `processes`: of this gate, which share out its
    calls at the same time."""

    __slots__ = ("holders", "processes")

    def __init__(self, name: str, rates: Rates, *, processes: int, holders: int) -> None:
        self.processes, self.holders = processes, holders
        super().__init__(name, rates, 1.0)

    def change(self, rates: Rates, now: float) -> None:
        self.rates = rates
        self.requests = self._slice("requests", self.requests, rates.rpm, now)
        self.tokens = self._slice("tokens", self.tokens, rates.tpm, now)
        self.adapt(self.adaptive)

    def adapt(self, limit: float) -> None:
        """Calls at the same time count in each process by itself."""
        self.adaptive = limit
        configured = self.rates.concurrency
        own = inf if configured is None else max(1, configured // self.processes)
        self.concurrency = own if own <= limit else int(limit)

    def fits(self, tokens: int, now: float) -> bool:
        """By what is in hand."""
        if self.running >= self.concurrency:
            return False
        requests, of_tokens = self.requests, self.tokens
        return (requests is None or _free(requests) >= 1) and (of_tokens is None or _free(of_tokens) >= tokens)

    def idle(self, now: float) -> bool:
        settled = all(not isinstance(each, Slice) or each.settled for each in (self.requests, self.tokens))
        return settled and super().idle(now)

    def _slice(self, kind: str, before: Bucket | None, limit: int | None, now: float) -> Bucket | None:
        if limit is None:
            return None
        return Slice(f"{self.name}:{kind}", limit, self.holders) if before is None else before.resized(limit, now)


def _free(bucket: Bucket) -> int:
    assert isinstance(bucket, Slice)
    return bucket.hand - bucket.promised


Part = tuple[Slice, int]
"""One limit that stands over a call, and what the call takes of it."""


def parts(accounts: Sequence[Account], tokens: int) -> list[Part]:
    return list(_parts(accounts, tokens))


def _parts(accounts: Sequence[Account], tokens: int) -> Iterator[Part]:
    for account in accounts:
        if isinstance(account.requests, Slice):
            yield account.requests, 1
        if isinstance(account.tokens, Slice):
            yield account.tokens, tokens


def grant_alone(of_call: Sequence[Part], since: float, now: float) -> bool:
    """The store has been out since then: a call is granted by all of its limits' own parts together, or by none."""
    for each, _ in of_call:
        each.alone(since)
    granted = all(each.alone_wait_s(amount, now) <= 0.0 for each, amount in of_call)
    for each, amount in of_call:
        if granted:
            each.alone_take(amount, now)
        else:
            each.alone_refuse(amount, now)
    return granted
