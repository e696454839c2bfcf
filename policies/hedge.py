"""When a call that is late is sent a second time, and where to: the first content of the two wins.

A delay is learnt, not set. It is the age that only as many calls exceed as may be hedged, never under a multiple of the
median; where answers come in two kinds, prompt ones and stragglers, more may be hedged and the line is drawn between
the two. At that age a second copy is sent only if it is expected to be there clearly sooner than the first one.
What it may cost is `policies.hedge_credit`'s word, and the attempt budget is the caller's. After "The Tail at Scale"
(Dean and Barroso, CACM 2013); one second copy at one time does what several could ("Optimal Reissue Policies for
Reducing Tail Latency", Kaler, He and Elnikety, SPAA 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from policies.first_token import CLASSES_MAX, Class, FirstTokens, class_of
from policies.hedge_credit import CreditRules, Credits
from policies.lateness import Lateness
from policies.quantiles import Quantiles
from policies.recent import Recent
from policies.repeatable import why_once, why_tools_once
from proxy.observed import NoHedgeKind
from proxy.types import Call, Target

KNOWN_LEAST: Final = 10  # samples before a delay can be told
BIMODAL: Final = 5.0  # one in 200 takes more than so many medians; what is given up at three counts as six
LEAST_MEDIANS: Final = 1.5
LEAST_MEDIANS_BIMODAL: Final = 1.9
MOST_MEDIANS_BIMODAL: Final = 4.0  # where there are more stragglers than may be hedged, a quantile is one of them
EAGER: Final = 1.4  # more calls get so old than may be hedged, for some of them end before their turn comes
STRETCH: Final = 0.2  # of the delay, added when the route's credit is empty: what is left goes to the oldest
LEAST_S: Final = 0.05  # a second copy has a cost of its own in the gate
GAIN_RATIO: Final = 1.2  # what is left of the first, against all of the second
GAIN_MEDIANS: Final = 0.25
GAIN_MOST_S: Final = 0.5
REVIEW_MOST: Final = 50  # primaries between two looks at a class, or a tenth of those before while they are few
AGAIN_SHARE: Final = 0.1  # of its age, until a call that could not be hedged is looked at again
AGAIN_LEAST_S: Final = 0.05
FIRST_LOOK_S: Final = 0.25  # where nothing is known yet
ROUNDING_S: Final = 1e-6  # a timer may be early by this


class HedgeRules(Struct, frozen=True):
    """`budget` is the share of primaries that may be hedged, and the share of settled money that hedges may cost."""

    budget: float = 0.02
    budget_bimodal: float = 0.05
    credit: CreditRules = CreditRules()


class Candidate(Struct, frozen=True):
    """Where a second copy could go. `expected_s` until its first content; None: as long as such calls usually take."""

    target: Target
    expected_s: float | None = None
    cost_usd_nanos: int = 0  # that of the whole copy, with what it misses in a prompt cache


class Hedge(Struct, frozen=True):
    target: Target
    reason: str


class NoHedge(Struct, frozen=True):
    """Not now; `again_s` is when to ask again, if the call is still without content. None: never."""

    reason: str
    kind: NoHedgeKind | None  # what stands against it; None: it is not late yet
    again_s: float | None = None


class Overdue(Struct, frozen=True):
    """A primary that has no content yet. `candidates` are in the caller's order of preference."""

    call: Call
    target: Target
    age_s: float
    candidates: tuple[Candidate, ...]
    left_usd_nanos: int | None = None  # free in the call's budgets; None: nothing limits its money


class _Patience:
    """How long the calls of one class are waited for, and what share of them may be hedged, by what was known of them
    when they were looked at."""

    __slots__ = ("delay_s", "ended", "known", "review_at", "share")

    def __init__(self, share: float) -> None:
        self.delay_s: float | None = None  # None: too few are known
        self.known: Quantiles | None = None
        self.share = share
        self.ended = self.review_at = 0  # primaries


class Hedges:
    """One per process. Instants and lengths in seconds; nothing here raises."""

    def __init__(self, rules: HedgeRules, first_tokens: FirstTokens) -> None:
        self.armed_s: dict[str, float] = {}  # the last delay of each route
        self._rules = rules
        self._first_tokens = first_tokens
        self._credits = Credits(rules.credit)
        self._lateness = Lateness()
        self._patience: Recent[Class, _Patience] = Recent(CLASSES_MAX, lambda: _Patience(self._rules.budget))

    def __repr__(self) -> str:
        return f"Hedges({len(self._patience)} classes, {self._credits!r}, {self._lateness!r})"

    def replace(self, rules: HedgeRules) -> None:
        """Other rules, from the next look at a class on."""
        self._rules = rules
        self._credits.replace(rules.credit)

    def delay_s(self, call: Call, target: Target, alternatives: Sequence[Target], now: float) -> float | None:
        """When to ask `fire`, in seconds after the primary was sent. None: do not arm, for what `why_not` says or
        because the deadline comes first."""
        if self.why_not(call, alternatives) is not None:
            return None
        delay = self._patience_of(call, target, alternatives).delay_s
        if delay is None:
            delay = FIRST_LOOK_S
        if now + delay >= call.deadline:
            return None
        self.armed_s[call.route] = delay
        return delay

    def why_not(self, call: Call, alternatives: Sequence[Target]) -> str | None:
        if not alternatives:
            return "no hedge: only one target"
        why = why_once(call)
        return f"no hedge: {why}" if why is not None else None

    def fire(self, late: Overdue, now: float) -> Hedge | NoHedge:
        """Where to send the second copy, which is then taken off the credits; or why none is sent."""
        targets = [candidate.target for candidate in late.candidates]
        if (why := self.why_not(late.call, targets)) is not None:
            return NoHedge(why, "side_effects" if targets else "no_alternative")
        if (why := why_tools_once(late.call)) is not None:
            return NoHedge(f"no hedge: {why}", "side_effects")
        patience = self._patience_of(late.call, late.target, targets)
        delay, known = patience.delay_s, patience.known
        if delay is None or known is None:
            return NoHedge("no hedge yet: too few such calls are known", "unknown", _again_s(late.age_s))
        delay *= 1.0 + STRETCH * (1.0 - self._credits.fullness(late.call))
        if late.age_s < delay - ROUNDING_S:
            return NoHedge(f"no hedge yet: not late before {delay:.2f} s", None, delay - late.age_s)
        found = self._choose(late, known, now)
        if isinstance(found, NoHedge):
            return found
        chosen, expected_s = found
        short = self._credits.withdraw(
            late.call, cost_usd_nanos=chosen.cost_usd_nanos, left_usd_nanos=late.left_usd_nanos
        )
        if short is not None:
            kind, words = short
            return NoHedge(f"no hedge yet: {words}", kind, _again_s(late.age_s))
        share = 100 * known.share_below(late.age_s)
        return Hedge(
            chosen.target,
            f"hedged after {late.age_s:.2f} s (q{share:.0f} of {known.count:,.0f} calls); "
            f"{chosen.target.id} expected in {expected_s:.2f} s",
        )

    def primary_ended(self, call: Call, target: Target, after_s: float, now: float) -> None:
        """The first attempt has content, has failed or was given up, `after_s` seconds after it was sent."""
        patience = self._patience.find(class_of(call, target))
        if patience is None:
            self._credits.ended(call, self._rules.budget)
            return
        patience.ended += 1
        self._credits.ended(call, patience.share)
        if patience.delay_s is not None:
            self._lateness.ended(target.id, after_s > patience.delay_s + ROUNDING_S, now)

    def settled(self, call: Call, target: Target, usd_nanos: int) -> None:
        """So much was paid for an attempt at `target`."""
        patience = self._patience.find(class_of(call, target))
        self._credits.settled(call, usd_nanos, self._rules.budget if patience is None else patience.share)

    def _patience_of(self, call: Call, target: Target, alternatives: Sequence[Target]) -> _Patience:
        """Looked at again now and then only: a look costs more than all else that is done for a call here."""
        patience = self._patience.get(class_of(call, target))
        if patience.ended >= patience.review_at:
            known = self._known(call, target, alternatives)
            if known is not None and known.added >= KNOWN_LEAST:
                patience.review_at = patience.ended + min(REVIEW_MOST, 1 + patience.ended // 10)
                self._review(patience, known, min(self._median_s(call, other, known) for other in alternatives))
        return patience

    def _known(self, call: Call, target: Target, alternatives: Sequence[Target]) -> Quantiles | None:
        """Of a target that is new, what is known of those that could stand in for it."""
        known = self._first_tokens.tail(call, target)
        if known is not None and known.added >= KNOWN_LEAST:
            return known
        others = [self._first_tokens.tail(call, other) for other in alternatives]
        return next((other for other in others if other is not None and other.added >= KNOWN_LEAST), known)

    def _review(self, patience: _Patience, known: Quantiles, expected_s: float) -> None:
        patience.known = known
        median, rare = known.quantile(0.5) or 0.0, known.quantile(0.995) or 0.0
        bimodal = rare > BIMODAL * median
        patience.share = self._rules.budget_bimodal if bimodal else self._rules.budget
        usual = known.quantile(1.0 - EAGER * patience.share) or 0.0
        usual = min(usual, MOST_MEDIANS_BIMODAL * median) if bimodal else usual
        medians = LEAST_MEDIANS_BIMODAL if bimodal else LEAST_MEDIANS
        least = max(LEAST_S, usual, medians * median)
        patience.delay_s = known.patience_s(least, _worth_s(median, expected_s))

    def _choose(self, late: Overdue, known: Quantiles, now: float) -> tuple[Candidate, float] | NoHedge:
        """The candidate with the earliest first content; while the primary's target is slow as a whole, one that does
        not fail together with it, if there is any."""
        awake = [found for found in late.candidates if not self._lateness.rests(found.target.id, now)]
        if not awake:
            return NoHedge("no hedge: the whole class is slow", "brake", _again_s(late.age_s))
        if self._lateness.rests(late.target.id, now):
            domain = late.target.failure_domain
            awake = [found for found in awake if found.target.failure_domain != domain] or awake
        expected, chosen = min(((self._expected_s(late.call, found, known), found) for found in awake), key=_first)
        median = known.quantile(0.5) or 0.0
        remaining = known.mean_remaining(late.age_s)
        if (late.age_s if remaining is None else remaining) < _worth_s(median, expected):
            return NoHedge("no hedge yet: a second copy would not be sooner", "not_better", _again_s(late.age_s))
        if now + expected > late.call.deadline:
            return NoHedge("no hedge: the deadline would pass before its first content", "deadline")
        return chosen, expected

    def _expected_s(self, call: Call, candidate: Candidate, otherwise: Quantiles) -> float:
        if candidate.expected_s is not None:
            return candidate.expected_s
        return self._median_s(call, candidate.target, otherwise)

    def _median_s(self, call: Call, target: Target, otherwise: Quantiles) -> float:
        known = self._first_tokens.of(call, target)
        found = otherwise if known is None or known.added < KNOWN_LEAST else known
        return found.quantile(0.5) or 0.0


def _worth_s(median_s: float, expected_s: float) -> float:
    """What a primary must still have before it on average, that a second copy is worth its price."""
    return max(GAIN_RATIO * expected_s, expected_s + min(GAIN_MOST_S, GAIN_MEDIANS * median_s))


def _again_s(age_s: float) -> float:
    return max(AGAIN_LEAST_S, AGAIN_SHARE * age_s)


def _first(pair: tuple[float, Candidate]) -> float:
    return pair[0]
