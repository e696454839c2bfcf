"""What has happened to one call so far. `serve` makes it, the readers of upstreams write to it, `finish` reads it.

It outlives the race of the call's attempts. The call's own task writes to it, the task and the timer of a hedge, and a
named task that took over an abandoned exchange: all in one loop.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from policies.cache_rules import Wanted
from policies.semantic.lookup import Lookup
from policies.settle import Ending
from proxy.dialects.base import Transcript
from proxy.errors import ProxyError
from proxy.execution.flight import Answered, Flight
from proxy.execution.purse import Purse
from proxy.execution.reading import Reading
from proxy.money.rate_limits import Quota
from proxy.observed import (
    Climbed,
    Culprit,
    Decision,
    LookedUp,
    Looped,
    NoHedgeKind,
    Reused,
    Spared,
    Spell,
    Voted,
    Weighed,
)
from proxy.pressure import FIRST, Pressure
from proxy.telemetry.ladders import GapCounter
from proxy.types import AbortRule, Attempt, Call, Plan, ServedBy


class Unended(Answered, Protocol):
    """An attempt that has been begun and must be ended: see `attempt.Exchange`."""

    reading: Reading | None

    @property
    def abort(self) -> AbortRule: ...

    async def end(self, ending: Ending, error: ProxyError | None = None) -> None: ...


class Pupil(Protocol):
    def __call__(self, record: Record, body: bytes, /) -> None:
        """Must not wait."""
        ...


class Record(Struct, eq=False):
    call: Call
    purse: Purse
    quota: Quota | None = None  # where rate limits stand over the call
    plan: Plan | None = None
    pressure: Pressure | None = None  # of its budgets, before it was planned
    attempts: list[Attempt] = []
    open: list[Unended] = []  # in order of beginning
    status: int = 0
    error: ProxyError | None = None
    served_by: ServedBy = "none"
    climbed: tuple[Climbed, ...] = ()  # of a cascade
    voted: Voted | None = None  # of a quorum or a debate
    answered: Unended | None = None  # the attempt whose reply the client gets
    decisions: list[Decision] | None = None  # where something had to be decided
    upstream_s: float = 0.0  # the union of the times in which attempts were open, and all other waiting
    _upstream_from: float = 0.0  # since when one is
    first_event_at: float | None = None
    last_event_at: float | None = None
    spells: tuple[Spell, ...] = ()  # of time that it spent before it was sent
    gaps: GapCounter | None = None  # of a stream that was committed
    pupils: tuple[Pupil, ...] = ()  # who are told all of what the client got
    transcript: Transcript | None = None  # of one that another upstream may go on with
    bytes_out: int = 0
    committed: bool = False  # a byte of the reply has gone to the client
    in_events: bool = False  # the committed reply is an event stream
    finished: bool = False  # its outcome was told
    flight: Flight | None = None  # where others may join it
    wanted: Wanted | None = None  # the known answers that would do
    entered: bool = False  # in the journal, and not done there
    reused: Reused | None = None  # the known answer that it got
    lookup: Lookup | None = None  # its question, where its own answer is to be compared
    looked_up: tuple[LookedUp, ...] = ()  # where one was looked for
    loop: Looped | None = None  # where its run goes round in circles
    held: str = ""  # for a quiet time: so long, and how that ended
    delivered: bool = False  # all of the reply has gone to the client
    client_gone: bool = False

    def pressed(self) -> bool:
        """Whether its budgets have something to say of it; what, is noted."""
        pressure = self.pressure = self.purse.pressure()
        return pressure.felt >= FIRST or pressure.pace > 0

    def begin(self, attempt: Unended, now: float) -> None:
        if not self.open:
            self._upstream_from = now
        self.open.append(attempt)

    def end(self, attempt: Unended, now: float) -> None:
        self.open.remove(attempt)
        if not self.open:
            self.upstream_s += now - self._upstream_from

    def teach(self, body: bytes) -> None:
        """All of what the client got."""
        for pupil in self.pupils:
            pupil(self, body)

    def withdraw(self, attempt: Unended) -> None:
        """It has been none."""
        self.open.remove(attempt)

    def waited(self, began_at: float, now: float) -> None:
        """For an upstream of another call, such as a judge's; where an attempt of its own is open, that counts."""
        if not self.open:
            self.upstream_s += now - began_at

    def waited_s(self, now: float) -> float:
        """For all that it had to wait for, up to now."""
        return self.upstream_s + (now - self._upstream_from if self.open else 0.0)

    @property
    def cost_usd_nanos(self) -> int | None:
        """Of all attempts that have ended; None as soon as one of them has no price."""
        total = 0
        for attempt in self.attempts:
            if attempt.cost_usd_nanos is None:
                return None
            total += attempt.cost_usd_nanos
        return total

    @property
    def keeps(self) -> bool:
        """Whether its reply may answer others."""
        wanted = self.wanted is not None or self.lookup is not None
        return wanted and self.flight is not None and self.reused is None

    def close(self) -> None:
        """Nothing is held any more, neither money nor a place among the running calls. The second time: nothing."""
        self.purse.close()
        if self.quota is not None:
            self.quota.end(self.attempts)

    def decided(
        self,
        at: float,
        said: str,
        weighed: Weighed | None = None,
        *,
        spared: Spared | None = None,
        broke: Culprit | None = None,
    ) -> None:
        if self.decisions is None:
            self.decisions = []
        self.decisions.append(Decision(at, said, weighed, spared, broke))

    def spent(self, kind: Literal["queue", "cache"], on: str, began_at: float, ended_at: float) -> None:
        """On what it did or waited for before it was sent."""
        self.spells = (*self.spells, Spell(kind, on, began_at, ended_at, self.plan is not None))

    def late(self, at: float, said: str, kind: NoHedgeKind | None) -> None:
        """A call that is late is looked at again and again: the last word on its hedge counts. `kind` None: it got
        one."""
        last = self.decisions[-1].spared if self.decisions else None
        if last is not None and last.role == "hedge" and self.decisions:
            self.decisions.pop()
        self.decided(at, said, spared=None if kind is None else Spared("hedge", kind))

    def let_go(self) -> None:
        """Of what knows it too, once its outcome was told: a circle would be left to the collector."""
        self.answered = self.flight = None
        self.pupils = ()

    def __repr__(self) -> str:
        return f"Record({self.call.id}, {len(self.attempts)} ended, {len(self.open)} open, status={self.status})"
