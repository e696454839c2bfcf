"""The lines of calls before targets: their order (`policies.tiers`), and what is learned of how fast they move.

How long a call would stand there follows from how often one has gone of late; it decides who is let in
(`policies.shedding`), who cannot end in time, and when those who are turned away shall come back.
Whose turn it is among an agent's calls goes by what their runs have had (`policies.least_attained`). `Permits` decides
when somebody may go; a line says who, and is told of every call that runs, also of those that need
not wait, so that an agent's running calls count against its next one. Nothing in here awaits or gives leave.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct

from policies import cost_units, least_attained
from policies.least_attained import Attained, Place
from policies.shedding import INTERACTIVE_S, STANDARD_S, Shedder
from policies.tiers import INTERACTIVE, TIERS, Hold, Tiers
from proxy.tenancy import run_id, run_of, tenant
from proxy.types import Call, Identity, Target, Usage

LINES_MAX: Final = 4_096
EXAMINED_MAX: Final = 8
UNKNOWN_S: Final = 1.0  # while no call has ended
FOLLOW: Final = 0.1  # of each call's length, or of the time between two that go, into the average
STANDARD: Final = TIERS["standard"]


class Queueing(Struct, frozen=True):
    """How long, and how many, calls may stand in all lines of one kind."""

    wait_s: float = 10.0
    calls_max: int = 1_000

    @property
    def goal_s(self) -> float:
        """What standard calls may have to wait before new ones are shed: whoever is let in shall get its turn."""
        return min(STANDARD_S, self.wait_s / 2) or STANDARD_S

    def patience_s(self, call: Call, now: float) -> float:
        """For how long a call may stand in line."""
        left_s = call.deadline - now
        return left_s if call.hurry == "patient" else min(self.wait_s, left_s)


class Claim(Struct, frozen=True):
    """What a call asks of a target: whose call it is, how urgent and until when stands in `call`."""

    call: Call
    tokens: int = 0  # input and output, as estimated; 0: nobody counts them


Progress = Callable[[Identity], int]
"""Answers that the run of a call has had so far."""


def nothing_yet(identity: Identity) -> int:
    """Where nobody knows of runs, every call is a new one's."""
    return 0


class Waits(Protocol):
    """Is told of every call that waits. Must not wait."""

    def began(self, route: str) -> None: ...

    def ended(self, route: str, waited_s: float) -> None: ...


class Unheard:
    """Where nobody wants to know."""

    def began(self, route: str) -> None:
        return

    def ended(self, route: str, waited_s: float) -> None:
        return


class Ticket:
    """One call's place in a line. `steps`: answers that its run has had so far."""

    __slots__ = ("agent", "claim", "place", "rank", "tier")

    def __init__(self, claim: Claim, steps: int = 0) -> None:
        self.claim = claim
        self.place: Place | None = None  # among the calls of its agent; None: behind those that came before
        self.agent = claim.call.identity.agent
        self.tier = TIERS[claim.call.priority]
        self.rank = 2 * self.tier + (steps == 0)  # among those that may have to give way

    def __repr__(self) -> str:
        return f"Ticket({self.agent!r}, {self.claim.call.priority})"

    def stood(self, target: Target, waited_s: float) -> str:
        """Why it had to wait, and where, for `explain`."""
        place, tier = self.place, self.claim.call.priority
        text = f"waited {waited_s:.3f} s for a place at {target.id}, as {tier}"
        if place is None:
            return text
        rose = f", from which it rose to {place.class_}" if place.class_ != place.from_ else ""
        had = f"its run has had {place.units:,.0f} cost units, which is class {place.from_}{rose}"
        return f"{text}, behind {place.ahead} of its agent's calls: {had}"


T = TypeVar("T", bound=Ticket)


class Line(Generic[T]):
    """Those that wait for one target, and what those that run there have taken."""

    __slots__ = ("_gap_s", "_service_s", "_tiers", "_went_at", "_weight", "shedder")

    def __init__(self, target: Target) -> None:
        self.shedder = Shedder()
        self._tiers: Tiers[T] = Tiers()
        self._weight = cost_units.output_weight(target.price)
        self._service_s: float | None = None
        self._gap_s: float | None = None  # between two that go, while others wait
        self._went_at: float | None = None  # the last one, if anybody has waited since

    def __repr__(self) -> str:
        return f"Line({self._tiers}, {self._service_s} s a call)"

    def __len__(self) -> int:
        return len(self._tiers)

    @property
    def idle(self) -> bool:
        return self._tiers.idle

    def add(self, ticket: T) -> None:
        self._tiers.add(ticket, ticket.agent, ticket.place, tier=ticket.tier)

    def remove(self, ticket: T) -> None:
        """It leaves."""
        self._tiers.remove(ticket, ticket.agent, tier=ticket.tier)

    def first(self, now: float) -> T:
        """Of a line that is not empty; another one may be the first the next time."""
        return self._tiers.first(now)

    @property
    def tier(self) -> int:
        """Of the first one, in a line that is not empty."""
        return self._tiers.turn()

    def take(self, now: float) -> Hold[T]:
        """The first one goes."""
        if self._went_at is not None:
            gap_s, known = now - self._went_at, self._gap_s
            self._gap_s = gap_s if known is None else known + (gap_s - known) * FOLLOW
        hold = self._tiers.take(self._cost(self._tiers.first(now).claim), now)
        self._went_at = now if len(self) else None
        return hold

    def pass_by(self, claim: Claim) -> Hold[T]:
        """A call that need not wait."""
        call = claim.call
        return self._tiers.pass_by(call.identity.agent, self._cost(claim), tier=TIERS[call.priority])

    def ended(self, hold: Hold[T], billed: Usage | None, duration_s: float) -> float:
        """Cost units that it has used."""
        used = 0.0 if billed is None else cost_units.used(billed, self._weight)
        hold.end(used)
        known = self._service_s
        self._service_s = duration_s if known is None else known + (duration_s - known) * FOLLOW
        return used

    def rise_s(self, patience_s: float) -> float:
        """For how long a call that gives up after `patience_s` waits here until it moves up."""
        return least_attained.rise_s(UNKNOWN_S if self._service_s is None else self._service_s, patience_s)

    def drain_s(self, running: int) -> float:
        """Until all that wait now have gone, where they go on as they did."""
        return len(self) * self._each_s(running)

    def wait_s(self, call: Call, running: int) -> float:
        """Until its turn, if it came now."""
        return self._tiers.ahead(call.identity.agent, tier=TIERS[call.priority]) * self._each_s(running)

    def spares(self, call: Call) -> bool:
        """Of an agent that has far fewer calls here than others: the overload is not its doing, and it goes soon."""
        return self._tiers.is_modest(call.identity.agent, tier=TIERS[call.priority])

    def look(self, running: int, goal_s: float, now: float) -> None:
        """How crowded it is decides who is let in, and in which order interactive calls go."""
        each_s, tiers = self._each_s(running), self._tiers
        interactive_s, standard_s = tiers.waiting(INTERACTIVE) * each_s, tiers.waiting(STANDARD) * each_s
        self.shedder.look(interactive_s / min(INTERACTIVE_S, goal_s), standard_s / goal_s, now)
        tiers.turn_round(newest_first=self.shedder.overloaded)

    def _each_s(self, running: int) -> float:
        if self._gap_s is not None:
            return self._gap_s
        return (UNKNOWN_S if self._service_s is None else self._service_s) / max(1, running)

    def _cost(self, claim: Claim) -> float:
        return cost_units.expected(claim.call.input_tokens_estimate, claim.tokens, self._weight)


class Lines(Generic[T]):
    """One for each target, kept while anybody waits or runs there, and for as long after as there is room."""

    def __init__(self, lines_max: int = LINES_MAX) -> None:
        self.attained = Attained()
        self._max = lines_max
        self._lines: dict[str, Line[T]] = {}

    def __repr__(self) -> str:
        return f"Lines({self._lines})"

    def __len__(self) -> int:
        return len(self._lines)

    def of(self, target: Target) -> Line[T]:
        line = self._lines.get(target.id)
        return self._opened(target) if line is None else line

    def place(self, call: Call, now: float, rise_s: float) -> Place:
        """Among the calls of its agent, by what its run has had at all targets. One without a run has had nothing."""
        run = run_of(call.identity)
        units = 0.0 if run is None else self.attained.of(run)
        parent = call.identity.parent_run
        parent = "" if parent is None else run_id(tenant(call.identity), parent)
        return Place(units, now, rise_s=rise_s, parent=parent, critical=call.hurry == "critical")

    def served(self, call: Call, units: float) -> None:
        """A call has ended that used so much."""
        run = run_of(call.identity)
        if run is not None:
            self.attained.add(run, units)

    def _opened(self, target: Target) -> Line[T]:
        if len(self._lines) >= self._max:
            for id, line in list(islice(self._lines.items(), EXAMINED_MAX)):
                del self._lines[id]
                if not line.idle:
                    self._lines[id] = line  # at the young end
        line = self._lines[target.id] = Line(target)
        return line
