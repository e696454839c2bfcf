"""Which of a step's targets a call goes to: the strategies that a user can name, and what a choice looked at.

`score` weighs load and speed in seconds (`policies.load`), and what targets have of the prompt in memory
(`policies.warmth`); `lowest_latency` looks at the call's own first event alone; `least_cost` at its price; `weighted`
draws by weight; `ordered` takes the first that is healthy. Whatever the strategy, a retry leaves the failure domain
that failed if it can. Which targets may not be asked now is `breaker`'s word. Above 32 targets three drawn at random
and the three best of the last look compete, after "Load balancing with memory" (Mitzenmacher, Prabhakar, Shah, 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from msgspec import Struct

from policies.load import Loads
from policies.plan import likely_usd_nanos
from policies.stickiness import Stickiness
from policies.warmth import Warm, Warmth
from proxy.observed import Considered
from proxy.types import Balance, Call, Target

EXPLORED: Final = 0.01  # of the calls go anywhere, so that a target that was slow once is asked again
SCANNED_MAX: Final = 32
DRAWN: Final = 3  # at random, and as many remembered
POOLS_MAX: Final = 256
TIE_S: Final = 0.01  # smaller differences are chance
TIE_SHARE: Final = 0.05
COLD: Final = 0.5  # of a prompt: a call that would find less of it may be sent anywhere to learn
CONSIDERED_MAX: Final = 8

Refused = tuple[tuple[Target, str], ...]  # each with the reason in words


class Choice(Struct, frozen=True):
    """`scores`, in seconds, belong to `candidates`, where a strategy compares seconds; the `refused` were none."""

    target: Target
    reason: str
    candidates: tuple[Target, ...]
    scores: tuple[float, ...] = ()
    refused: Refused = ()

    @property
    def considered(self) -> tuple[Considered, ...]:
        """The chosen target, then the others, the best first. Made when asked for: a call goes on without."""
        if not self.scores:
            looked = [Considered(target.id) for target in self.candidates]
        else:
            more = min(self.scores)
            looked = [
                Considered(target.id, score, self._why_not(target, score - more))
                for target, score in sorted(zip(self.candidates, self.scores, strict=True), key=lambda pair: pair[1])
            ]
        looked.sort(key=lambda each: each.target != self.target.id)
        refused = [Considered(target.id, None, why) for target, why in self.refused if target is not self.target]
        return tuple((looked + refused)[:CONSIDERED_MAX])

    def _why_not(self, target: Target, more_s: float) -> str:
        if target is self.target:
            return ""
        return f"{more_s:.2f} s above the lowest" if more_s > TIE_S else f"as good, and {self.target.id} was drawn"


class Router:
    """One strategy over what the whole process knows of its targets."""

    def __init__(
        self, balance: Balance, loads: Loads, warmth: Warmth | None = None, *, stickiness: Stickiness | None = None
    ) -> None:
        self._balance = balance
        self._loads = loads
        self._warmth = warmth if balance == "score" else None
        self._stickiness = None if balance == "ordered" else stickiness  # an order is the operator's own word
        self._best: dict[str, tuple[str, ...]] = {}  # route -> ids, where there are more targets than are scanned

    def __repr__(self) -> str:
        return f"Router({self._balance!r}, {self._loads!r})"

    def choose(
        self, call: Call, targets: tuple[Target, ...], *, tried: tuple[Target, ...], now: float, rng: Random
    ) -> Choice:
        """`tried` in order of trying."""
        if len(targets) == 1:
            return Choice(targets[0], "the only target", targets)
        usable: tuple[Target, ...] = targets
        refused: Refused = ()
        if tried:
            usable = _elsewhere(targets, tried)
            refused = tuple([(target, _again(target, tried)) for target in targets if target not in usable])
        if len(usable) == 1:
            return Choice(usable[0], "the only one left", usable, refused=refused)
        balance = self._balance
        home = None if self._stickiness is None else self._stickiness.home(call, usable, now)
        if home is not None:
            return Choice(home, "the home of its run, which has its prompt in the cache", usable, refused=refused)
        warm = None if self._warmth is None else self._warmth.of(call, usable, now)
        if warm is not None:
            return self._warmest(call, warm, refused, now=now, rng=rng)
        if balance == "score" or balance == "lowest_latency":
            return self._quickest(call, usable, refused, now=now, rng=rng)
        if balance == "weighted":
            return Choice(drawn(usable, rng), "drawn by weight", usable, refused=refused)
        group, reason = _first_in_order(usable) if balance == "ordered" else _cheapest(call, usable)
        return Choice(drawn(group, rng), reason, usable, refused=refused)

    def _quickest(self, call: Call, usable: tuple[Target, ...], refused: Refused, *, now: float, rng: Random) -> Choice:
        many = len(usable) > SCANNED_MAX
        if many:
            usable = self._some(call, usable, rng)
        if self._balance == "score":
            scores, reason = self._loads.scores(call, usable, now), "lowest in score"
        else:
            scores, reason = self._loads.first_events_s(call, usable, now), "expected to answer first"
        if many:
            self._remember(call, usable, scores)
        if call.priority != "critical" and rng.random() < EXPLORED:
            target, reason = usable[int(rng.random() * len(usable))], "drawn to learn of it"
        else:
            best = min(scores)
            noise_s = self._loads.noise_s(usable[scores.index(best)], now)
            limit = best + max(TIE_S, TIE_SHARE * best, noise_s)
            target = self._tied([each for each, score in zip(usable, scores, strict=True) if score <= limit], now, rng)
        return Choice(target, reason, usable, tuple(scores), refused)

    def _warmest(self, call: Call, warm: Warm, refused: Refused, *, now: float, rng: Random) -> Choice:
        """The same where targets have prompts in memory. Nothing is learnt at the price of a prompt that is there, and
        what two targets differ by is mostly no chance."""
        targets, cached = warm.targets, warm.cached
        scores = self._loads.warm_scores(call, targets, cached, now)
        most = max([known or 0.0 for known in cached])
        if call.priority != "critical" and most < COLD * warm.tokens and rng.random() < EXPLORED:
            return Choice(drawn(targets, rng), "drawn to learn of it", targets, tuple(scores), refused)
        limit = min(scores) + TIE_S
        tied = [at for at, score in enumerate(scores) if score <= limit]
        known = max([cached[at] or 0.0 for at in tied])
        target = self._tied([targets[at] for at in tied if (cached[at] or 0.0) == known], now, rng)
        reason = f"lowest in score, with {known:,.0f} of {warm.tokens:,} prompt tokens expected in its memory"
        return Choice(target, reason, targets, tuple(scores), refused)

    def _tied(self, tied: list[Target], now: float, rng: Random) -> Target:
        """By weight, and by what a target that warms up is trusted with."""
        if len(tied) == 1:
            return tied[0]
        trust = self._loads.trust(tied, now)
        if trust is None:
            return drawn(tied, rng)
        return drawn(tied, rng, [target.weight * share for target, share in zip(tied, trust, strict=True)])

    def _some(self, call: Call, usable: tuple[Target, ...], rng: Random) -> tuple[Target, ...]:
        remembered = self._best.get(call.route, ())
        kept = [target for target in usable if target.id in remembered]
        return (*kept, *(target for target in rng.sample(usable, DRAWN) if target.id not in remembered))

    def _remember(self, call: Call, looked: Sequence[Target], scores: Sequence[float]) -> None:
        if call.route not in self._best and len(self._best) >= POOLS_MAX:
            del self._best[next(iter(self._best))]
        ranked = sorted(zip(scores, (target.id for target in looked), strict=True))
        self._best[call.route] = tuple([id for _, id in ranked[:DRAWN]])


def drawn(targets: Sequence[Target], rng: Random, weights: Sequence[float] | None = None) -> Target:
    """By weight; where none has any, each is as likely. A weight of 0 serves as a last resort only."""
    if len(targets) == 1:
        return targets[0]
    parts = [target.weight for target in targets] if weights is None else weights
    point = rng.random() * sum(parts)
    if point <= 0:
        return targets[int(rng.random() * len(targets))]
    for target, part in zip(targets, parts, strict=True):
        point -= part
        if point < 0:
            return target
    return targets[-1]


def _elsewhere(usable: tuple[Target, ...], tried: tuple[Target, ...]) -> tuple[Target, ...]:
    """Those in another failure domain, else those that were not tried, else all but the last one that was."""
    ids = {target.id for target in tried}
    domains = {target.failure_domain for target in tried}
    fresh = tuple([target for target in usable if target.id not in ids])
    others = tuple([target for target in fresh if target.failure_domain not in domains])
    return others or fresh or tuple([target for target in usable if target.id != tried[-1].id]) or usable


def _again(target: Target, tried: tuple[Target, ...]) -> str:
    if any(target.id == each.id for each in tried):
        return "tried before"
    return f"in {target.failure_domain}, as one that was tried before"


def _first_in_order(usable: tuple[Target, ...]) -> tuple[tuple[Target, ...], str]:
    first = min([target.order for target in usable])
    return tuple([target for target in usable if target.order == first]), "first in order"


def _cheapest(call: Call, usable: tuple[Target, ...]) -> tuple[tuple[Target, ...], str]:
    """A target without a price is the dearest: what it costs is unknown, not nothing."""
    known = [(likely_usd_nanos(call, target), target) for target in usable if target.price is not None]
    if not known:
        return usable, "drawn by weight: no price is known"
    least = min([cost for cost, _ in known])
    return tuple([target for cost, target in known if cost == least]), "lowest in cost"
