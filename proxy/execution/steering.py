"""Where attempts go and what each of them teaches: the policies that every attempt of a process asks and tells.

Decides nothing itself. It exists so that an attempt has one thing to begin and to end, however many policies listen:
the load of targets, their breakers, and how long their first content takes. Of a target that is nobody's alternative
only the breaker hears: there is nothing to choose, and nowhere to hedge to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

from msgspec import structs

from policies.balance import Choice, Router
from policies.breaker import Breakers, unheard
from policies.breaker_state import Transition
from policies.breaker_watch import Watch
from policies.first_token import FirstTokens
from policies.hedge import Candidate, Hedge, HedgeRules, Hedges, NoHedge, Overdue
from policies.load import Loads, Ticket
from policies.plan import likely_usd_nanos
from proxy.clock import Clock
from proxy.types import Attempt, Balance, Call, Role, Target

CONTESTED_MAX: Final = 4_096
BACK_S: Final = 5.0  # the slow start of a target whose breaker has closed


class Steering:
    """One a process. `turned` is told of every transition of a breaker."""

    def __init__(
        self, clock: Clock, hedging: HedgeRules | None = None, turned: Callable[[Transition], None] = unheard
    ) -> None:
        self.loads = Loads()
        self.breakers = Breakers(self._turned)
        self.first_tokens = FirstTokens()
        self.hedges = Hedges(hedging or HedgeRules(), self.first_tokens)
        self.contested: set[str] = set()  # targets that calls have had to choose between
        self._clock = clock
        self._heard = turned
        self._rng = clock.rng("steering")
        self._routers = {balance: Router(balance, self.loads) for balance in get_args(Balance)}

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
        if len(usable) == len(targets):
            return choice, panic
        left = [target for target in targets if target not in usable]
        refused = tuple([(target, self.breakers.why_not(call, target, now) or "it is out") for target in left])
        return structs.replace(choice, refused=(*choice.refused, *refused)), panic

    def begin(self, ask: Call, target: Target, role: Role) -> Trip:
        """An attempt is about to be sent."""
        now = self._clock.now()
        trip = Trip(ask, target, role, began_at=now, watch=self.breakers.begin(target, now))
        if target.id in self.contested:
            trip.ticket = self.loads.started(ask, target, now)
        return trip

    def hedge(self, trip: Trip, others: tuple[Target, ...], free_usd_nanos: int | None) -> Hedge | NoHedge:
        """Where a second copy of a call that is late should go, of those that may be asked and have room.
        `free_usd_nanos`: in the call's budgets; None: nothing limits its money."""
        now, ask = self._clock.now(), trip.ask
        usable, panic = self.breakers.usable(ask, others, now)
        if panic:
            return NoHedge("no hedge: too many targets are out")
        expected = self.loads.first_events_s(ask, usable, now)
        candidates = tuple(
            Candidate(other, seconds or None, likely_usd_nanos(ask, other))
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
            self.first_tokens.learn(trip.ask, trip.target, age_s, now)
            if trip.role == "first":
                self.hedges.primary_ended(trip.ask, trip.target, age_s, now)
        return now

    def end(self, trip: Trip, attempt: Attempt) -> None:
        """The attempt is over. Once."""
        now = self._clock.now()
        trip.watch.ended(attempt.lesson, attempt.error_code, now=now, rng=self._rng)
        if trip.ticket is not None:
            self._end(trip, trip.ticket, attempt, now)

    def _end(self, trip: Trip, ticket: Ticket, attempt: Attempt, now: float) -> None:
        usage = attempt.usage
        cached = usage.input_cached if usage is not None and usage.source == "reported" else None
        self.loads.ended(ticket, now, cached)
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
        if transition.to == "closed":
            self.loads.warming(transition.name, self._clock.now(), BACK_S)
        self._heard(transition)


class Trip:
    """One attempt, as the policies see it. `ticket` None: its target is nobody's alternative."""

    __slots__ = ("ask", "asked", "began_at", "content_at", "role", "target", "ticket", "watch")

    def __init__(self, ask: Call, target: Target, role: Role, *, began_at: float, watch: Watch) -> None:
        self.ask = ask
        self.target = target
        self.role = role
        self.began_at = began_at
        self.watch = watch
        self.asked = False  # it has been sent
        self.content_at: float | None = None
        self.ticket: Ticket | None = None

    def __repr__(self) -> str:
        return f"Trip({self.target.id}, {self.role}, content_at={self.content_at})"
