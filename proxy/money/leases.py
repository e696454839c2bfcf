"""The accounts as a process sees them that does not own them: a `Store` over leases.

As long as the leases pay, nothing here waits and nobody is asked. What they do not pay is asked of the owner, whose
answer is more money, lent, or a refusal; the hold itself is always taken here. A path without any limit never asks.
A hold stands in the slot's journal before `reserve` returns, so that it is known even if this process is killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from policies.leases import Hold, Lease, Leases, Terms, Wanted
from policies.limits import NO_DEMANDS, Rulebook, demands
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.holds import Left, Reservation
from proxy.money.lease_messages import Asking, Feeling, Felt, Granted, Refused
from proxy.pressure import Pressure
from proxy.state.store import Ask
from proxy.types import Amounts, Charge

LASTS_S = 10.0  # after the last heartbeat that the owner has answered
PATIENCE_S = 10.0
ROUNDS = 3  # questions for one hold; more than one only where a window closes in between
PRESSURE_S = 0.5  # so old may be what is known of the pressure on a path
PATHS_MAX = 50_000  # what is remembered of paths; forgetting them costs a question
CALM = Pressure()


class Owner(Protocol):
    """Whoever has the accounts. Messages arrive in the order in which they are sent."""

    def ask(self, asking: Asking) -> None: ...
    def withdraw(self, request: int) -> None: ...
    def feel(self, feeling: Feeling) -> None: ...
    def give_back(self, leases: Leases) -> None:
        """Sends what `leases.returns` has gathered, and empties it."""
        ...

    def renew(self, wanted: tuple[Wanted, ...]) -> None: ...


class Chart(Struct, frozen=True):
    """What is known of a path; `room` and `pressure` are the owner's last word."""

    leases: tuple[Lease, ...] = ()
    room: Left = NO_DEMANDS
    pressure: Pressure = CALM
    told_at: float = 0.0  # or asked


UNLIMITED = Chart()
UNKNOWN = Chart()


class Question(Struct, frozen=True):
    path: tuple[str, ...]
    settle: Callable[[Granted], bool]  # takes the hold, as soon as the money is there
    answer: asyncio.Future[ProxyError | bool]


class Witness(Protocol):
    """Sees to it that holds outlive this process. Must not wait."""

    def held(self, hold: Hold) -> bool:
        """Taken, or raised. False: it could not be written, so nothing may be sent."""
        ...

    def marked(self, id: str, reached: Amounts) -> None: ...


class LeasedStore:
    def __init__(self, clock: Clock, rules: Rulebook, owner: Owner, witness: Witness) -> None:
        self.leases = Leases()
        self._closed: ProxyError | None = None  # why nothing is held any more
        self._valid_until = 0.0
        self._clock = clock
        self._rules = rules
        self._owner = owner
        self.patience_s = PATIENCE_S  # an owner that has not answered by then is not there
        self._witness = witness
        self._charts: dict[tuple[str, ...], Chart] = {}
        self._questions: dict[int, Question] = {}
        self._last = 0

    def __repr__(self) -> str:
        return f"LeasedStore({self.leases!r}, asking={len(self._questions)})"

    @property
    def live(self) -> int:
        return len(self.leases.live)

    def closed(self) -> ProxyError | None:
        return self._closed

    def limited(self, path: tuple[str, ...]) -> bool:
        return self._chart(path) is not UNLIMITED

    def left(self, path: tuple[str, ...]) -> Left:
        return self._chart(path).room

    def pressure(self, path: tuple[str, ...]) -> Pressure:
        """As it was a moment ago; calls that wait for it to ease ask for nothing else."""
        chart, now = self._chart(path), self._clock.now()
        if chart.leases and now - chart.told_at >= PRESSURE_S:
            self._charts[path] = replace(chart, told_at=now)
            self._owner.feel(Feeling(path))
        return chart.pressure

    async def reserve(self, id: str, path: tuple[str, ...], ask: Ask, *, ttl_s: float) -> Reservation | ProxyError:
        chart, now = self._chart(path), self._clock.now()
        if chart is UNLIMITED:
            return Reservation(id, path, ask(chart.room), now + ttl_s)
        hold = self.leases.live.get(id)
        if hold is None and chart.leases and self._closed is None and now < self._valid_until:
            hold = self._hold(id, path, ask(chart.room), chart.leases)
        for _ in range(ROUNDS):
            if hold is not None:
                return Reservation(id, path, hold.draw, now + ttl_s)
            if (why := self.closed()) is not None:
                return why
            refusal = await self._ask(id, path, ask, ttl_s=ttl_s)
            if refusal is not None:
                return refusal
            hold = self.leases.live.get(id)
        return self.closed() or ProxyError("ledger_unavailable", "This call could not be held now.", retry_after_s=1.0)

    async def extend(self, reservation: Reservation, total: Amounts) -> Reservation | ProxyError:
        id = reservation.id
        if id not in self.leases.live:  # its path has no limits
            return Reservation(id, reservation.path, total, reservation.expires_at)
        lacking = self.leases.lacking(id, total)
        if lacking is not None:
            refusal = await self._raise(reservation, lacking, total)
            if refusal is not None:
                return refusal
        elif not self.leases.extend(id, total):
            raise AssertionError("nothing was lacking")
        self._witness.held(self.leases.live[id])
        return Reservation(id, reservation.path, self.leases.live[id].draw, reservation.expires_at)

    def mark(self, reservation: Reservation, reached: Amounts) -> None:
        if reservation.id in self.leases.live:
            self._witness.marked(reservation.id, reached)

    def post(self, reservation: Reservation, used: Amounts) -> tuple[Charge, ...]:
        charges = self.leases.post(reservation.id, used, self._clock.now())
        self._give_back()
        return charges or ()

    def void(self, reservation: Reservation) -> None:
        self.leases.void(reservation.id, self._clock.now())
        self._give_back()

    # --- what the owner says -----------------------------------------------------------------------------------------

    def granted(self, granted: Granted) -> None:
        question = self._questions.pop(granted.request, None)
        leases = self.leases.take(granted.lent, self._clock.now())
        done = False
        if question is not None:
            known = self._chart(question.path)
            room = replace(known.room, usd_nanos=granted.left_after)
            self._charts[question.path] = Chart(leases, room, granted.pressure, self._clock.now())
            self.leases.grow(leases)
            done = not question.answer.done() and question.settle(granted)
        self.leases.trim(leases)
        self._give_back()
        if question is not None and not question.answer.done():
            question.answer.set_result(done)

    def felt(self, felt: Felt) -> None:
        chart = self._charts.get(felt.path)
        if chart is not None and chart is not UNLIMITED:
            self._charts[felt.path] = replace(chart, pressure=felt.pressure)

    def refused(self, refused: Refused) -> None:
        question = self._questions.pop(refused.request, None)
        if question is not None and not question.answer.done():
            question.answer.set_result(refused.error())

    def renewed(self, lent: tuple[Terms, ...]) -> None:
        self.leases.take(lent, self._clock.now())

    def recalled(self, numbers: tuple[int, ...]) -> None:
        self.leases.recall(numbers)
        self._give_back()

    def heard(self, sent_at: float) -> None:
        """The owner has answered the heartbeat that was sent then."""
        self._valid_until = sent_at + LASTS_S

    def look(self, passed_s: float) -> None:
        wanted = self.leases.look(self._clock.now(), self._clock.wall(), passed_s)
        self._give_back()
        if wanted:
            self._owner.renew(wanted)

    def replace(self, rules: Rulebook) -> None:
        self._rules = rules
        self._charts.clear()

    def close(self, why: ProxyError) -> None:
        """The owner is gone: nothing new is held, what is held may still end."""
        self._closed = why
        for question in self._questions.values():
            if not question.answer.done():
                question.answer.set_result(why)
        self._questions.clear()

    # --- asking ------------------------------------------------------------------------------------------------------

    def _chart(self, path: tuple[str, ...]) -> Chart:
        chart = self._charts.get(path)
        if chart is None:
            limits = [limit for account in path for limit in self._rules.limits(account)]
            if len(self._charts) >= PATHS_MAX:
                self._charts.clear()
            chart = self._charts[path] = Chart(room=demands(limits)) if limits else UNLIMITED
        return chart

    def _hold(self, id: str, path: tuple[str, ...], draw: Amounts, leases: tuple[Lease, ...]) -> Hold | None:
        if not self.leases.hold(id, path, leases, draw=draw, wall=self._clock.wall()):
            return None
        hold = self.leases.live[id]
        if not self._witness.held(hold):
            self.leases.void(id, self._clock.now())
            self._closed = ProxyError("ledger_unavailable", "Holds cannot be recorded: the disk takes nothing.")
            return None
        short = self.leases.short(leases)
        if short:
            self._owner.renew(short)
        return hold

    async def _ask(self, id: str, path: tuple[str, ...], ask: Ask, *, ttl_s: float) -> ProxyError | None:
        def settle(granted: Granted) -> bool:
            draw = ask(replace(room, usd_nanos=granted.left))
            return self._hold(id, path, draw, self._charts[path].leases) is not None

        room = self._chart(path).room
        nothing = 0 if room.hard or room.soft else None
        most, least = [ask(replace(room, usd_nanos=left)) for left in (None, nothing)]
        asking = Asking(0, id, path, most, least, ttl_s, self._wanted(path))
        answer = await self._answer(asking, settle)
        return answer if isinstance(answer, ProxyError) else None

    async def _raise(self, reservation: Reservation, lacking: Amounts, total: Amounts) -> ProxyError | None:
        id, path = reservation.id, reservation.path

        def settle(granted: Granted) -> bool:
            return self.leases.extend(id, total)

        self._last += 1
        asking = Asking(0, f"{id}+{self._last}", path, lacking, lacking, LASTS_S, self._wanted(path), waits=False)
        answer = await self._answer(asking, settle)
        if answer is False:
            return ProxyError("budget_exceeded", "The window of this call's budget has closed: its hold cannot grow.")
        return answer if isinstance(answer, ProxyError) else None

    async def _answer(self, asking: Asking, settle: Callable[[Granted], bool]) -> ProxyError | bool:
        self._last += 1
        number = self._last
        answer: asyncio.Future[ProxyError | bool] = asyncio.get_running_loop().create_future()
        self._questions[number] = Question(asking.path, settle, answer)
        self._owner.ask(replace(asking, request=number))
        try:
            async with asyncio.timeout(self.patience_s):
                return await answer
        except TimeoutError:
            self._forsake(number, asking)
            return ProxyError("ledger_unavailable", "The accounts did not answer in time.", retry_after_s=1.0)
        except asyncio.CancelledError:
            self._forsake(number, asking)
            raise

    def _forsake(self, number: int, asking: Asking) -> None:
        """Nobody waits for the answer any more. If it came in the same moment, nobody will end the hold either."""
        if self._questions.pop(number, None) is not None:
            self._owner.withdraw(number)
        elif asking.waits and self.leases.void(asking.id, self._clock.now()):
            self._give_back()

    def _wanted(self, path: tuple[str, ...]) -> tuple[Wanted, ...]:
        return tuple([lease.wanted for lease in self._charts.get(path, UNKNOWN).leases])

    def _give_back(self) -> None:
        if self.leases.returns:
            self._owner.give_back(self.leases)
