"""Calls of priority `batch` that have hours: they stand here until it is quiet, or until they must go.

Peaks are a budget that is spent far ahead of its calendar, targets that others wait for or that are half in use, and
limits of the call's own key and agent that have no room. Calls of one agent, key and model stand in line; the first
looks once a second, and one goes at a time, so that a herd does not make the next peak. Each call waits in its own
task: it goes once, and not at all when its client leaves. One whose time runs out goes as `standard`, which is not shed
first, and stands in all further lines for as long as it has. What is quiet is `policies.off_peak`'s word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal, Protocol

from msgspec import structs

from policies.forecast import held_back
from policies.off_peak import Load, may_wait, rescue_at
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.permits import Permits
from proxy.execution.record import Record
from proxy.money.rate_limits import RateLimits
from proxy.snapshot import Snapshot
from proxy.types import Call, Plan, Target

LOOK_EVERY_S: Final = 1.0
APART_S: Final = 0.1  # between two that go
HELD: Final = "until it is quiet"  # a record says so meanwhile
ANSWER_S: Final = 0.1  # kept of the deadline, so that a refusal says what stood in the way

Ended = Literal["quiet", "rescued", "left"]
P99 = Callable[[Call, Target], float]


class Heard(Protocol):
    """Is told of every call that is held. Must not wait."""

    def began(self, route: str) -> None: ...

    def ended(self, route: str, how: Ended) -> None: ...


class _Line:
    __slots__ = ("calls", "turn", "went_at")

    def __init__(self) -> None:
        self.calls = 0
        self.went_at = 0.0
        self.turn = asyncio.Lock()  # passed on in order of arrival


class OffPeak:
    def __init__(self, clock: Clock, permits: Permits, *, rates: RateLimits, p99_s: P99, heard: Heard) -> None:
        self.waiting = 0
        self.turned_away = 0  # because too many waited: these went on at once
        self._clock = clock
        self._permits = permits
        self._rates = rates
        self._p99_s = p99_s
        self._heard = heard
        self._lines: dict[tuple[str, str, str], _Line] = {}  # by key, agent and route

    def __repr__(self) -> str:
        return f"OffPeak({self.waiting} waiting in {len(self._lines)} lines)"

    async def hold(self, record: Record, snapshot: Snapshot) -> Call:
        """The call, as it is to go on. One that has no hours goes as it came."""
        call, now = record.call, self._clock.now()
        plan = snapshot.planner.plan(call) if may_wait(call, now) else None
        if plan is None or isinstance(plan, ProxyError):  # which it will be told where it is planned
            return call
        targets = _first_of(plan)
        at = rescue_at(call, max([self._p99_s(call, target) for target in targets], default=0.0))
        why = "others stand here" if self._key(call) in self._lines else self._peak(record, targets)
        if at > now and why:
            if self.waiting >= self._permits.queueing.calls_max:
                self.turned_away += 1
                return call
            await self._held(record, targets, at, why=why)
        record.call = structs.replace(record.call, hurry="patient")
        return record.call

    async def _held(self, record: Record, targets: tuple[Target, ...], at: float, *, why: str) -> None:
        began, call = self._clock.now(), record.call
        ended: Ended = "left"
        self._heard.began(call.route)
        record.held = HELD
        try:
            ended = await self._in_line(record, targets, at - began)
        finally:
            self._heard.ended(call.route, ended)
            now = self._clock.now()
            record.upstream_s += now - began  # the wait is not the gate's overhead
            record.spent("queue", "a quiet time", began, now)
            record.held = f"{now - began:.3f}; {ended}"
            end = f"left {call.deadline - now:.0f} s before its deadline" if ended == "rescued" else f"ended: {ended}"
            record.decided(now, f"held for {now - began:.3f} s for a quiet time, as {why}; {end}")
        if ended == "rescued":
            record.call = structs.replace(call, priority="standard")

    async def _in_line(self, record: Record, targets: tuple[Target, ...], left_s: float) -> Ended:
        key = self._key(record.call)
        line = self._lines.setdefault(key, _Line())
        line.calls += 1
        self.waiting += 1
        try:
            async with asyncio.timeout(left_s), line.turn:
                while True:  # ends: it is quiet, or its time is over
                    await asyncio.sleep(max(0.0, line.went_at + APART_S - self._clock.now()))
                    if not self._peak(record, targets):
                        line.went_at = self._clock.now()
                        return "quiet"
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            await self._room(record.call)
            return "rescued"
        finally:
            self.waiting -= 1
            line.calls -= 1
            if not line.calls:
                del self._lines[key]

    async def _room(self, call: Call) -> None:
        """Its own limits hold for those that are rescued too; returns at its deadline at the latest."""
        while True:  # ends: they have room, or its time is over
            if self._fits(call) or self._clock.now() + LOOK_EVERY_S + ANSWER_S >= call.deadline:
                return
            await asyncio.sleep(LOOK_EVERY_S)

    def _peak(self, record: Record, targets: tuple[Target, ...]) -> str:
        """Why it should not go now; empty: it is quiet."""
        purse, call = record.purse, record.call
        if purse.limited and held_back(call.priority, purse.pressure().pace):
            return "its budget is spent ahead of its time"
        if targets and not any(self._load(target).quiet for target in targets):
            return f"{targets[0].id} is in use by others"
        return "" if self._fits(call) else "the limits of its key and agent have no room"

    def _fits(self, call: Call) -> bool:
        quota = self._rates.quota(call) if self._rates.limited else None
        return quota is None or quota.fits

    def _load(self, target: Target) -> Load:
        permits = self._permits
        rooms = permits.rooms
        left = min(permits.ratio(target.id, "requests"), permits.ratio(target.id, "tokens"))
        waiting = permits.crowded(target) is not None
        return Load(waiting, rooms.running_at(target.id), rooms.concurrency(target.id), left)

    def _key(self, call: Call) -> tuple[str, str, str]:
        return call.identity.key_id, call.identity.agent, call.route


def _first_of(plan: Plan) -> tuple[Target, ...]:
    """Of its first step; of one with members, of the first of them."""
    while plan.members:  # ends: members of members are not configured
        plan = plan.members[0]
    return plan.steps[0] if plan.steps else ()
