"""How fast an account may call: requests and tokens a minute, and calls at the same time.

A bucket holds a minute's worth and runs full at the limit's own pace. It is kept as one instant, the one at which it
will be full (GCRA, ITU-T I.371), so that refilling needs no work and an idle bucket can be forgotten. All limits that
stand over one call admit it together, or none of them is debited. Tokens are debited by an estimate and corrected when
they are known. Who waits, and for how long, is decided by the callers; what was refused is said by `rate_refusal`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import islice
from math import inf
from typing import Final, Literal

from msgspec import Struct

Kind = Literal["requests", "tokens", "concurrency"]

SPAN_S: Final = 60.0
AT_ONCE_S: Final = 1e-6  # binary fractions: who waited as long as told must not be told again
ACCOUNTS_MAX: Final = 10_000  # agents' names come from clients
EXAMINED_MAX: Final = 8


class Rates(Struct, frozen=True):
    """What one account may use; None: not limited."""

    rpm: int | None = None  # requests a minute
    tpm: int | None = None  # tokens a minute, of all classes
    concurrency: int | None = None  # at the same time


class Bucket:
    """Holds `limit` when it is full and fills from nothing within `span_s`."""

    __slots__ = ("full_at", "interval_s", "limit", "room_s", "span_s", "was_full_at")

    def __init__(self, limit: float, span_s: float = SPAN_S) -> None:
        self.limit = limit
        self.span_s = span_s
        self.interval_s = span_s / limit
        self.room_s = max(0.0, span_s - self.interval_s) + AT_ONCE_S  # so far from full, one still fits
        self.full_at = self.was_full_at = -inf

    def __repr__(self) -> str:
        return f"Bucket({self.limit:g} in {self.span_s:g} s, full at {self.full_at:g})"

    def level(self, now: float) -> float:
        """What is in it; below zero after a call that took more than was there."""
        behind = self.full_at - now
        return self.limit - behind / self.interval_s if behind > 0.0 else self.limit

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; 0: it is. More than fits into the bucket waits until it is full, or it
        could never go."""
        behind = self.full_at - now
        if behind <= 0.0:
            return 0.0
        wait = behind + min(amount, self.limit) * self.interval_s - self.span_s
        return wait if wait > AT_ONCE_S else 0.0

    def take(self, amount: float, now: float) -> None:
        if self.full_at <= now:
            self.full_at = self.was_full_at = now
        self.full_at += amount * self.interval_s

    def correct(self, amount: float, taken_at: float, now: float) -> None:
        """`amount` more, or less, than was taken then. What a bucket that has been full since would have spilled is
        not given back: otherwise the ends of long calls could add up to any burst."""
        if amount > 0:
            self.take(amount, now)
        elif self.was_full_at <= taken_at:
            self.full_at += amount * self.interval_s

    def set_level(self, level: float, now: float) -> None:
        self.full_at = now + max(0.0, self.limit - level) * self.interval_s

    def resized(self, limit: float, now: float) -> Bucket:
        """Another limit; what is missing from it stays missing."""
        bucket = Bucket(limit, self.span_s)
        bucket.full_at = now + max(0.0, self.full_at - now) / self.interval_s * bucket.interval_s
        bucket.was_full_at = self.was_full_at
        return bucket


class Shortage(Struct, frozen=True):
    """One limit that stands in the way. `wait_s`: until it does not, as far as can be said now."""

    account: str
    kind: Kind
    limit: int
    remaining: int
    needed: int
    wait_s: float


Standing = tuple[int, int, float]
"""What one kind of limit has left, for the client to see: the limit, what remains, seconds until it is full."""


class Account:
    """The buckets and the running calls of one key, agent, target or provider. `share` is this process's part."""

    __slots__ = ("adaptive", "concurrency", "name", "rates", "requests", "running", "share", "tokens")
    concurrency: float  # calls of this process; infinite where none is set

    def __init__(self, name: str, rates: Rates, share: float = 1.0) -> None:
        self.name = name
        self.share = share
        self.adaptive = inf  # calls at the same time, as learned
        self.running = 0
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.change(rates, 0.0)

    def __repr__(self) -> str:
        return f"Account({self.name}, {self.requests}, {self.tokens}, {self.running} of {self.concurrency} running)"

    def change(self, rates: Rates, now: float) -> None:
        self.rates = rates
        self.requests = _changed(self.requests, rates.rpm, self.share, now=now)
        self.tokens = _changed(self.tokens, rates.tpm, self.share, now=now)
        self.adapt(self.adaptive)

    def adapt(self, limit: float) -> None:
        """What was learned; the tighter one of it and of what is configured holds. Infinite: nothing was."""
        self.adaptive = limit
        configured = self.rates.concurrency
        own = inf if configured is None else max(1, int(configured * self.share))
        self.concurrency = own if own <= limit else int(limit)

    @property
    def full(self) -> bool:
        return self.running >= self.concurrency

    def fits(self, tokens: int, now: float) -> bool:
        """Each call asks this, so it is written out."""
        if self.running >= self.concurrency:
            return False
        bucket = self.requests
        if bucket is not None and bucket.full_at > now + bucket.room_s:
            return False
        bucket = self.tokens
        return bucket is None or bucket.full_at <= now or bucket.wait_s(tokens, now) <= 0.0

    def wait_s(self, tokens: int, now: float) -> float:
        """Until both buckets have room; concurrency is not asked."""
        wait = 0.0 if self.requests is None else self.requests.wait_s(1, now)
        return wait if self.tokens is None else max(wait, self.tokens.wait_s(tokens, now))

    def take(self, tokens: int, now: float) -> None:
        self.running += 1
        if self.requests is not None:
            self.requests.take(1, now)
        if self.tokens is not None:
            self.tokens.take(tokens, now)

    def idle(self, now: float) -> bool:
        """Nothing would be lost by forgetting it."""
        full = all(bucket is None or bucket.full_at <= now for bucket in (self.requests, self.tokens))
        return full and not self.running

    def shortages(self, tokens: int, now: float) -> list[Shortage]:
        found: list[Shortage] = []
        kinds: tuple[tuple[Kind, Bucket | None, int], ...] = (
            ("requests", self.requests, 1),
            ("tokens", self.tokens, tokens),
        )
        for kind, bucket, needed in kinds:
            if bucket is not None and (wait := bucket.wait_s(needed, now)) > 0.0:
                left = max(0, int(bucket.level(now)))
                found.append(Shortage(self.name, kind, round(bucket.limit / self.share), left, needed, wait))
        if self.full:
            limit = int(min(self.rates.concurrency or inf, self.adaptive))
            found.append(Shortage(self.name, "concurrency", limit, 0, 1, 1.0))
        return found


def _changed(bucket: Bucket | None, limit: int | None, share: float, *, now: float) -> Bucket | None:
    if limit is None:
        return None
    return Bucket(limit * share) if bucket is None else bucket.resized(limit * share, now)


def take(accounts: tuple[Account, ...], tokens: int, now: float) -> bool:
    """Debits all of them, or none."""
    for account in accounts:
        if not account.fits(tokens, now):
            return False
    for account in accounts:
        account.take(tokens, now)
    return True


def correct(accounts: tuple[Account, ...], tokens: int, taken_at: float, *, now: float) -> None:
    """`tokens` more, or less, than were debited at `taken_at`."""
    for account in accounts:
        if account.tokens is not None:
            account.tokens.correct(tokens, taken_at, now)


def shortages(accounts: tuple[Account, ...], tokens: int, now: float) -> tuple[Shortage, ...]:
    """Everything that stands in the way; the longest wait first."""
    found = [shortage for account in accounts for shortage in account.shortages(tokens, now)]
    return tuple(sorted(found, key=lambda shortage: -shortage.wait_s))


def standing(accounts: tuple[Account, ...], kind: Literal["requests", "tokens"], now: float) -> Standing | None:
    """Of the tightest of them; None: none has that limit."""
    found, least = None, inf
    for account in accounts:
        bucket = account.requests if kind == "requests" else account.tokens
        if bucket is not None:
            behind = bucket.full_at - now
            level = bucket.limit - behind / bucket.interval_s if behind > 0.0 else bucket.limit
            if level < least:
                found, least = account, level
    if found is None:
        return None
    bucket = found.requests if kind == "requests" else found.tokens
    limit = found.rates.rpm if kind == "requests" else found.rates.tpm
    assert bucket is not None  # `least` is its level
    assert limit is not None
    left = int(least / found.share + AT_ONCE_S) if least > 0.0 else 0
    return limit, left, max(0.0, bucket.full_at - now)


Opening = Callable[[str, Rates], Account]


class RateRules(Struct, frozen=True):
    """Who is limited: keys by id, agents by name, and every agent that is not named."""

    keys: Mapping[str, Rates] = {}
    agents: Mapping[str, Rates | None] = {}
    each_agent: Rates | None = None

    @property
    def any(self) -> bool:
        return bool(self.keys or self.each_agent or any(self.agents.values()))


class Limiter:
    """The accounts of all keys and agents that are limited; `opening` makes them."""

    def __init__(self, rules: RateRules, *, opening: Opening = Account, accounts_max: int = ACCOUNTS_MAX) -> None:
        self.rules = rules
        self.dropped = 0  # agents forgotten while they had something to remember
        self._open = opening
        self._max = accounts_max
        self._keys: dict[str, Account] = {}
        self._agents: OrderedDict[str, Account] = OrderedDict()

    def __repr__(self) -> str:
        return f"Limiter({len(self._keys)} keys, {len(self._agents)} agents, {self.dropped} dropped)"

    def __len__(self) -> int:
        return len(self._keys) + len(self._agents)

    @property
    def running(self) -> int:
        """Over all accounts; a call counts once for each that stands over it."""
        return sum(account.running for account in (*self._keys.values(), *self._agents.values()))

    def accounts(self, key_id: str, agent: str, now: float) -> tuple[Account, ...]:
        """What stands over such a call."""
        of_key, of_agent = self._keys.get(key_id), self._agents.get(agent)
        if of_key is None and (rates := self.rules.keys.get(key_id)) is not None:
            of_key = self._keys[key_id] = self._open(f"key:{key_id}", rates)
        if of_agent is not None:
            self._agents.move_to_end(agent)
        elif (rates := self.rules.agents.get(agent, self.rules.each_agent)) is not None:
            of_agent = self._opened(agent, rates, now)
        if of_key is None:
            return () if of_agent is None else (of_agent,)
        return (of_key,) if of_agent is None else (of_key, of_agent)

    def replace(self, rules: RateRules, now: float) -> None:
        """Other limits, from now on; what was taken stays taken."""
        self.rules = rules
        for key_id, account in list(self._keys.items()):
            account.change(rules.keys.get(key_id, Rates()), now)
        for agent, account in list(self._agents.items()):
            account.change(rules.agents.get(agent, rules.each_agent) or Rates(), now)

    def _opened(self, agent: str, rates: Rates, now: float) -> Account:
        if len(self._agents) >= self._max:
            self._forget_one(now)
        account = self._agents[agent] = self._open(f"agent:{agent}", rates)
        return account

    def _forget_one(self, now: float) -> None:
        """One of those that have been silent for longest: if it can be, one that has nothing to remember."""
        oldest = list(islice(self._agents.values(), EXAMINED_MAX))
        account = min(oldest, key=lambda account: (account.running, not account.idle(now)))
        self.dropped += not account.idle(now)
        del self._agents[account.name.removeprefix("agent:")]
