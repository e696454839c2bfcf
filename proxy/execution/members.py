"""Several models that answer one call at the same time, each in a task of its own, from which all are told apart.

Every answer is read to its end and settled before it is handed over, so that nothing runs on behind the one that the
client gets. A member is never hedged, and one that fails is simply not there. Whatever still runs when its owner
closes is cancelled, awaited, given up and billed by its provider's rule. Whom to ask, and what to make of the answers,
is decided by whoever owns this.
"""

from __future__ import annotations

import asyncio

from msgspec import Struct, structs

from policies.plan import likely_usd_nanos
from policies.survival import Survival
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.bench import Rules
from proxy.execution.course import Leg
from proxy.execution.holding import put_down, take
from proxy.execution.race import Answer, Race
from proxy.execution.record import Record
from proxy.observed import Said
from proxy.tasks import Tasks
from proxy.types import Call, Plan


class Kit(Struct, frozen=True):
    """What modes of several members work with; made once."""

    clock: Clock
    dialect: Dialect
    race: Race
    tasks: Tasks


class Member:
    """One that was asked. It has an answer, or an error, or was given up."""

    __slots__ = ("answer", "error", "leg", "number", "plan", "said")

    def __init__(self, number: int, plan: Plan, leg: Leg) -> None:
        self.number = number
        self.plan = plan
        self.leg = leg
        self.answer: Answer | None = None
        self.said: Said | None = None
        self.error: ProxyError | None = None

    def __repr__(self) -> str:
        return f"Member({self.number}, {self.plan.model!r}, {self.answer and self.answer[1]!r}, {self.error!r})"


class Members:
    """Those of one call; `close` it whatever happens."""

    def __init__(self, kit: Kit, record: Record, rules: Rules) -> None:
        self._kit = kit
        self._record = record
        self._rules = structs.replace(rules, survival=Survival())  # what is read whole is not held or continued
        self._running: dict[asyncio.Task[None], Member] = {}

    def __repr__(self) -> str:
        return f"Members({list(self._running.values())})"

    @property
    def running(self) -> int:
        return len(self._running)

    def ask(self, number: int, plan: Plan, ask: Call | None = None) -> None:
        """`ask`: what it is asked instead of the call itself."""
        asked = structs.replace(ask or self._record.call, hedged=False)
        member = Member(number, plan, Leg("member", asked))
        self._running[self._kit.tasks.start("member", self._answer(member))] = member

    async def ended(self) -> list[Member]:
        """Those who have an answer or an error by now, at least one of those that run; in the order of asking."""
        done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        return [self._running.pop(task) for task in tuple(self._running) if task in done]

    async def close(self) -> None:
        """The second time: nothing."""
        given_up, self._running = self._running, {}
        for task in given_up:
            task.cancel()
        if given_up:
            await asyncio.wait(given_up)
        for member in given_up.values():
            await member.leg.abandon()

    async def _answer(self, member: Member) -> None:
        record, kit = self._record, self._kit
        try:
            answer = await kit.race.run(record, member.plan, self._rules, leg=member.leg)
            await take(answer[0], self._rules, None, deadline=record.call.deadline, clock=kit.clock)
            await put_down(answer[0])
            member.said = next(iter(kit.dialect.said(answer[1].first)), None)
            member.answer = answer
        except ProxyError as error:
            member.error = error


def strengths(call: Call, plans: tuple[Plan, ...]) -> list[float]:
    """By what they cost: that a model is better than a cheaper one is what its price says."""
    return [float(max(likely_usd_nanos(call, target) for target in plan.steps[0])) for plan in plans]
