"""How much room a target has: what is configured for it and its provider, and what its own replies told.

A reply that says how much remains is believed over our own count, less what was sent after the call that it answers.
A 429 shuts the target until its Retry-After; from then on calls are let go one at a time, at the pace that is known,
else a few a second, so that those who waited do not come all at once. Requests and tokens are kept apart. Headers are
read by `proxy.providers.limit_headers`; who waits in which order is decided by `proxy.execution.permits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final, Literal

from msgspec import Struct

from policies.concurrency import Adaptive, Explained, Mode
from policies.rate_limit import SPAN_S, Account, Bucket, Rates, Shortage

UNNAMED_REFUSAL_S: Final = 1.0  # a 429 that says nothing about when
PACE_S: Final = 0.1  # between calls, behind a refusal of a target whose limit is not known
PACED_FOR_S: Final = 10.0
SPAN_LEAST_S: Final = 1.0
SPAN_MOST_S: Final = 86_400.0
AMPLE: Final = 0.5  # above such a share of the limit, replies are read `READ_EVERY_S`
READ_EVERY_S: Final = 0.02
NEAR: Final = 0.9  # below such a share of the limit the time until it is full is worth reading again

ToldKind = Literal["requests", "tokens"]


class Told(Struct, frozen=True):
    """What a reply said of one limit. `reset_s`: until it is full again."""

    kind: ToldKind
    remaining: float
    limit: float | None = None
    reset_s: float | None = None


class TargetRules(Struct, frozen=True):
    """What is configured, by target (`provider/model`, or `provider/prefix*`) and by provider."""

    targets: Mapping[str, Rates] = {}
    providers: Mapping[str, Rates] = {}
    adaptive: Mapping[str, Mode] = {}  # by provider; each of its targets learns by itself

    @property
    def any(self) -> bool:
        """Whether anything is limited before the first call."""
        return bool(self.targets or self.providers) or "started" in self.adaptive.values()

    def of_target(self, id: str) -> Rates:
        exact = self.targets.get(id)
        if exact is not None:
            return exact
        wild = [name for name in self.targets if name.endswith("*") and id.startswith(name[:-1])]
        return self.targets[max(wild, key=len)] if wild else Rates()


class TargetLimits:
    """The room at one target. `provider` is shared by all targets of one provider."""

    __slots__ = (
        "_all_requests",
        "_all_tokens",
        "adaptive",
        "asked_requests",
        "asked_tokens",
        "own",
        "pace",
        "paced_until",
        "provider",
        "read_again_at",
        "requests",
        "shut_until",
        "tokens",
    )

    def __init__(self, own: Account, provider: Account, adaptive: Adaptive | None = None) -> None:
        self.own = own
        self.provider = provider
        self.adapt(adaptive)
        self.requests: Bucket | None = None  # as told
        self.tokens: Bucket | None = None
        self.shut_until = self.paced_until = -inf
        self.pace = Bucket(1, PACE_S)
        self.read_again_at = -inf  # while much remains, not every reply is worth reading
        self.asked_requests = self.asked_tokens = 0  # ever
        self.arrange()

    def __repr__(self) -> str:
        return f"TargetLimits({self.own}, told {self.requests}, {self.tokens}, shut until {self.shut_until:g})"

    def arrange(self) -> None:
        """After a bucket was made, here or in an account."""
        requests = (self.own.requests, self.provider.requests, self.requests)
        tokens = (self.own.tokens, self.provider.tokens, self.tokens)
        self._all_requests = tuple(bucket for bucket in requests if bucket is not None)
        self._all_tokens = tuple(bucket for bucket in tokens if bucket is not None)

    def adapt(self, adaptive: Adaptive | None) -> None:
        """From now on its concurrency is learned so, or not at all."""
        self.adaptive = adaptive
        self.own.adapt(inf if adaptive is None else adaptive.limit)

    def answered(self, first_event_s: float, explained: Explained | None) -> bool:
        """A call's first event is there; whether that has changed how many may run."""
        learner = self.adaptive
        if learner is None or not learner.answered(first_event_s, explained, self.own.running):
            return False
        self.own.adapt(learner.limit)
        return True

    def timed_out(self, now: float) -> bool:
        """No first event came in time; whether that has changed how many may run."""
        learner = self.adaptive
        if learner is None or not learner.timed_out(self.own.running, now):
            return False
        self.own.adapt(learner.limit)
        return True

    @property
    def full(self) -> bool:
        return self.own.full or self.provider.full

    def fits(self, tokens: int, now: float) -> bool:
        return not self.full and self.wait_s(tokens, now) <= 0.0

    def wait_s(self, tokens: int, now: float) -> float:
        """Until there is room by every rate; concurrency is not asked."""
        wait = self.shut_until - now if self.shut_until > now else 0.0
        for bucket in self._all_requests:
            if bucket.full_at > now + bucket.room_s:
                wait = max(wait, bucket.wait_s(1, now))
        for bucket in self._all_tokens:
            if bucket.full_at > now:
                wait = max(wait, bucket.wait_s(tokens, now))
        return max(wait, self.pace.wait_s(1, now)) if now < self.paced_until else wait

    def take(self, tokens: int, now: float) -> None:
        """Debits everything."""
        self.own.running += 1
        self.provider.running += 1
        self.asked_requests += 1
        self.asked_tokens += tokens
        for bucket in self._all_requests:
            bucket.take(1, now)
        for bucket in self._all_tokens:
            bucket.take(tokens, now)
        if now < self.paced_until:
            self.pace.take(1, now)

    def release(self) -> None:
        self.own.running -= 1
        self.provider.running -= 1

    def correct(self, tokens: int, taken_at: float, now: float) -> None:
        """`tokens` more, or less, than were debited. What was told needs no correction: it is the upstream's count."""
        for bucket in (self.own.tokens, self.provider.tokens):
            if bucket is not None:
                bucket.correct(tokens, taken_at, now)

    def told(self, told: Told, now: float, *, asked_since: int) -> None:
        """A reply to a call; of the same kind, `asked_since` was asked for after it and may not be in the figure."""
        if told.limit is not None and told.remaining < AMPLE * told.limit:
            self.read_again_at = now
        known = self.requests if told.kind == "requests" else self.tokens
        bucket = _shaped(known, told, self.own.share)
        if bucket is None:
            return
        bucket.set_level(told.remaining * self.own.share - asked_since, now)
        if bucket is not known:
            if told.kind == "requests":
                self.requests = bucket
            else:
                self.tokens = bucket
            self.arrange()

    def wants_reset(self, kind: ToldKind, remaining: float, limit: float | None) -> bool:
        """Whether the time until a reset would teach anything: reading it costs more than the rest together."""
        bucket = self.requests if kind == "requests" else self.tokens
        return bucket is None or limit is None or bucket.limit != limit * self.own.share or remaining < NEAR * limit

    def refused(self, alone_s: float, now: float) -> None:
        """A 429: nothing fits for so long, and from then on one call after the other."""
        if self.adaptive is not None and self.adaptive.refused(self.own.running, now):
            self.own.adapt(self.adaptive.limit)
        self.shut_until = max(self.shut_until, now + alone_s)
        known = [bucket for bucket in (self.requests, self.own.requests) if bucket is not None]
        for bucket in known:
            bucket.full_at = max(bucket.full_at, self.shut_until + max(0.0, bucket.span_s - bucket.interval_s))
        if not known:
            self.paced_until = self.shut_until + PACED_FOR_S

    def ratio(self, kind: ToldKind, now: float) -> float:
        """What is left of the tightest known limit; 1.0 where none is known."""
        if now < self.shut_until:
            return 0.0
        buckets = (
            (self.requests, self.own.requests, self.provider.requests)
            if kind == "requests"
            else (self.tokens, self.own.tokens, self.provider.tokens)
        )
        return min(
            (max(0.0, bucket.level(now) / bucket.limit) for bucket in buckets if bucket is not None), default=1.0
        )

    @property
    def limited(self) -> bool:
        """Whether anything stands over it at all."""
        configured = self.own.rates != Rates() or self.provider.rates != Rates()
        learned = self.own.adaptive < inf or self.shut_until > -inf
        return configured or learned or bool(self._all_requests or self._all_tokens)

    def idle(self, now: float) -> bool:
        """Nothing would be lost by forgetting it."""
        told = all(bucket is None or bucket.full_at <= now for bucket in (self.requests, self.tokens))
        unlimited = now >= max(self.shut_until, self.paced_until) and self.own.adaptive == inf
        return told and unlimited and self.own.idle(now)

    def shortages(self, tokens: int, now: float) -> tuple[Shortage, ...]:
        """Everything that stands in the way; the longest wait first."""
        found = [*self.own.shortages(tokens, now), *self.provider.shortages(tokens, now)]
        told: tuple[tuple[ToldKind, Bucket | None, int], ...] = (
            ("requests", self.requests, 1),
            ("tokens", self.tokens, tokens),
        )
        for kind, bucket, needed in told:
            if bucket is not None and (wait := bucket.wait_s(needed, now)) > 0.0:
                left = max(0, int(bucket.level(now)))
                found.append(Shortage(self.own.name, kind, round(bucket.limit / self.own.share), left, needed, wait))
        if (wait := self.wait_s(tokens, now)) > max((shortage.wait_s for shortage in found), default=0.0):
            found.append(Shortage(self.own.name, "requests", 0, 0, 1, wait))  # shut, and nobody knows its limit
        return tuple(sorted(found, key=lambda shortage: -shortage.wait_s))


def _shaped(bucket: Bucket | None, told: Told, share: float) -> Bucket | None:
    """A bucket of the size and pace that was told; None: nothing to go by."""
    limit = told.limit
    if limit is None and bucket is None and told.reset_s is None:
        return None  # that nothing remains, of nobody knows how many until nobody knows when, is said by a 429 as well
    if limit is None:
        limit = max(told.remaining, 1.0 if bucket is None else bucket.limit / share)
    if limit <= 0:
        return None
    used = limit - told.remaining
    if told.reset_s is not None and told.reset_s > 0 and used >= 1:
        span = min(max(told.reset_s * limit / used, SPAN_LEAST_S), SPAN_MOST_S)
    elif bucket is not None:
        span = bucket.span_s
    else:
        span = SPAN_S
    if bucket is not None and bucket.limit == limit * share and bucket.span_s == span:
        return bucket
    return Bucket(limit * share, span)
