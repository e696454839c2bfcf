"""Where attempts go and what each of them teaches: the policies that every attempt of a process asks and tells.

Decides nothing itself. It exists so that an attempt has one thing to begin and to end, however many policies listen:
the load of targets, what they have in memory, their breakers, and how long their first content takes. Of a target that
is nobody's alternative only the breaker hears: there is nothing to choose, and nowhere to hedge to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

from msgspec import Struct, structs

from policies.affinity import Affinity, Promise
from policies.balance import Choice, Router
from policies.breaker import Breakers, unheard
from policies.breaker_state import Transition
from policies.breaker_watch import Watch
from policies.concurrency import Explained
from policies.first_token import KNOWN_LEAST, FirstTokens
from policies.hedge import Candidate, Hedge, HedgeRules, Hedges, NoHedge, Overdue
from policies.load import Loads
from policies.plan import Usual, likely_usd_nanos, never_seen, usual_usd_nanos
from policies.speed import Ticket
from policies.stall import Stalls
from policies.stickiness import Stickiness
from policies.warmth import Warmth
from proxy.clock import Clock
from proxy.telemetry.ladders import CHUNK
from proxy.types import Attempt, Balance, Call, Role, Target

FORBIDDEN: Final = 403
CONTESTED_MAX: Final = 4_096
PANIC: Final = "targets are out, so nothing is tried twice"
OVERDUE_S: Final = 1.0  # where nothing is known yet
PROMPT_SHARE: Final = 0.1
BACK_S: Final = 5.0  # the slow start of a target whose breaker has closed


class Steering:
    """One a process. `turned` is told of every transition of a breaker."""

    def __init__(
        self,
        clock: Clock,
        hedging: HedgeRules | None = None,
        turned: Callable[[Transition], None] = unheard,
        warmth: Warmth | None = None,
    ) -> None:
        self.loads = Loads()
        self.warmth = warmth or Warmth(Affinity())
        self.stickiness = Stickiness(self.loads)
        self.breakers = Breakers(self._turned)
        self.first_tokens = FirstTokens()
        self.stalls = Stalls(CHUNK)
        self.hedges = Hedges(hedging or HedgeRules(), self.first_tokens)
        self.contested: set[str] = set()  # targets that calls have had to choose between
        self._clock = clock
        self._heard = turned
        self._rng = clock.rng("steering")
        self._routers = {
            balance: Router(balance, self.loads, self.warmth, stickiness=self.stickiness)
            for balance in get_args(Balance)
        }

    def __repr__(self) -> str:
        return f"Steering({self.loads}, {self.breakers}, {self.hedges})"

    def choose(
        self, call: Call, targets: tuple[Target, ...], balance: Balance, tried: tuple[Target, ...]
    ) -> tuple[Choice, bool]:
        """The next target, and whether there is panic: then nothing is retried or hedged."""
        now = self._clock.now()
        usable, panic = self.breakers.usable(call, targets, now)
        if len(targets) == 1:
            return Choice(targets[0], "the only one", targets), panic
        self._contest(targets)
        trial = None if tried or panic else self.breakers.trial(call, targets, now)
        if trial is not None:
            return Choice(trial, "due for a trial after failures", targets), panic
        choice = self._routers[balance].choose(call, usable, tried=tried, now=now, rng=self._rng)
        if len(usable) == len(targets) and not panic:
            return choice, False
        left = [target for target in targets if target not in usable]
        refused = tuple([(target, self.breakers.why_not(call, target, now) or "it is out") for target in left])
        reason = "the only one left" if left and len(usable) == 1 else choice.reason
        reason += f"; {'too many' if left else 'all'} {PANIC}" if panic else ""
        return structs.replace(choice, reason=reason, refused=(*choice.refused, *refused)), panic

    def all_out(self, call: Call, targets: tuple[Target, ...]) -> bool:
        """Whether none of them may be asked now."""
        if not self.breakers.troubled:
            return False
        now = self._clock.now()
        return all(self.breakers.why_not(call, target, now) is not None for target in targets)

    def well(self, ask: Call, targets: tuple[Target, ...], bad_most: float) -> bool:
        """Whether a call that leaves a target which failed finds its answer there, as far as breakers know."""
        return self.breakers.well(ask, targets, bad_most, self._clock.now())

    def begin(self, ask: Call, target: Target, role: Role) -> Trip:
        """An attempt is about to be sent."""
        now = self._clock.now()
        trip = Trip(ask, target, role, now, self.breakers.begin(target, now))
        if target.id in self.contested:
            sent = self.warmth.copied if role == "hedge" else self.warmth.started
            trip.promise = sent(ask, target, now)
            cached = None if trip.promise is None else trip.promise.cached
            trip.ticket = self.loads.started(ask, target, now, cached)
        return trip

    def hedge(
        self, trip: Trip, others: tuple[Target, ...], *, free_usd_nanos: int | None, usual: Usual = never_seen
    ) -> Hedge | NoHedge:
        """Where a second copy of a call that is late should go, of those that may be asked and have room.
        `free_usd_nanos`: in the call's budgets; None: nothing limits its money. `usual`: the length of its answers."""
        now, ask = self._clock.now(), trip.ask
        usable = tuple([other for other in others if self.breakers.why_not(ask, other, now) is None])
        if not usable:
            return NoHedge("no hedge: the other targets are out", "breaker")
        expected = self.loads.first_events_s(ask, usable, now, self.warmth.cached(ask, usable, now))
        candidates = tuple(
            Candidate(
                other,
                None if self.first_tokens.of(ask, other) is None else seconds,  # nobody has seen how fast it is
                _price_usd_nanos(ask, other, usual),
            )
            for other, seconds in zip(usable, expected, strict=True)
        )
        overdue = Overdue(ask, trip.target, now - trip.began_at, candidates, free_usd_nanos)
        return self.hedges.fire(overdue, now)

    def content(self, trip: Trip) -> float:
        """The first content is there, or all of a plain reply. Returns when."""
        now = trip.content_at = self._clock.now()
        trip.watch.answered(now)
        if trip.ticket is not None:
            age_s = now - trip.began_at
            self.loads.first_event(trip.ticket, now)
            self.stickiness.answered(trip.ask, trip.target, now)
            self.first_tokens.learn(trip.ask, trip.target, age_s, now)
            if trip.role == "first":
                self.hedges.primary_ended(trip.ask, trip.target, age_s, now)
        return now

    def is_overdue(self, trip: Trip) -> bool:
        """Whether a stream has been waited for as long as it takes where there is no crowd, whatever ended the wait. A
        caller may allow it less than any target takes; a plain reply takes as long as it is long."""
        if not trip.ask.head.stream:
            return False
        return self._clock.now() - trip.began_at >= (self._begins_s(trip.ask, trip.target, PROMPT_SHARE) or OVERDUE_S)

    def comes_too_late(self, ask: Call, target: Target) -> bool:
        """Whether half of such streams begin later than a call has time left which had to wait in line: it would only
        keep its target from those that can still be served."""
        usual_s = self._begins_s(ask, target, 0.5) if ask.head.stream else None
        return usual_s is not None and ask.deadline - self._clock.now() < usual_s

    def _begins_s(self, ask: Call, target: Target, share: float) -> float | None:
        """What this share of such streams takes to begin at most; None: too few are known."""
        known = self.first_tokens.of(ask, target)
        return None if known is None or known.added < KNOWN_LEAST else known.quantile(share)

    def end(self, trip: Trip, attempt: Attempt) -> None:
        """The attempt is over. Once."""
        now = self._clock.now()
        # A 403 may be of the model alone, whose name is the caller's where a wildcard takes it; a 401 is of the key.
        code = None if attempt.status == FORBIDDEN else attempt.error_code
        trip.watch.ended(attempt.lesson, code, now=now, rng=self._rng)
        if trip.ticket is not None:
            self._end(trip, trip.ticket, attempt, now)

    def _end(self, trip: Trip, ticket: Ticket, attempt: Attempt, now: float) -> None:
        usage = attempt.usage
        cached = usage.input_cached if usage is not None and usage.source == "reported" else None
        self.loads.ended(ticket, now, cached)
        if trip.promise is not None and usage is not None and cached is not None:
            self.warmth.affinity.ended(trip.promise, cached, usage.input_total)
        if attempt.error_code == "upstream_unreachable":
            self.warmth.affinity.lost(trip.target.id)
        if trip.content_at is None:
            age_s = now - trip.began_at
            if attempt.error_code is None and trip.asked:
                self.first_tokens.censored(trip.ask, trip.target, age_s, now)
            if trip.role == "first":
                self.hedges.primary_ended(trip.ask, trip.target, age_s, now)
        if attempt.cost_usd_nanos:
            self.hedges.settled(trip.ask, trip.target, attempt.cost_usd_nanos)

    def _contest(self, targets: tuple[Target, ...]) -> None:
        contested = self.contested
        if targets[0].id in contested and targets[-1].id in contested:  # as with nearly all calls
            return
        if len(contested) >= CONTESTED_MAX:  # the names of a wildcard's models come from clients
            contested.clear()
        contested.update([target.id for target in targets])

    def _turned(self, transition: Transition) -> None:
        if "/" in transition.name:  # a target, not a provider's key
            if transition.to == "closed":
                self.loads.warming(transition.name, self._clock.now(), BACK_S)
                self.warmth.affinity.back(transition.name)
            elif transition.to == "open":
                self.warmth.affinity.out(transition.name, self._clock.now())
        self._heard(transition)


class Trip(Struct, eq=False):
    """One attempt, as the policies see it. `ticket` None: its target is nobody's alternative."""

    ask: Call
    target: Target
    role: Role
    began_at: float
    watch: Watch
    asked: bool = False  # it has been sent
    content_at: float | None = None
    ticket: Ticket | None = None
    promise: Promise | None = None  # where its target keeps prompts

    def __repr__(self) -> str:
        return f"Trip({self.target.id}, {self.role}, content_at={self.content_at})"

    @property
    def explained(self) -> Explained | None:
        """What its first event should take, where that is known."""
        ticket = self.ticket
        return None if ticket is None else Explained(ticket.predicted_s, ticket.service_s)


def _price_usd_nanos(ask: Call, target: Target, usual: Usual) -> int:
    """What a second copy will be booked at, in nano-dollars: all that is held for it, where nobody knows what its
    provider does after a close."""
    if target.traits.abort != "stops":
        return likely_usd_nanos(ask, target)
    return usual_usd_nanos(ask, target, usual(ask, target))
