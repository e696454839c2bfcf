"""Whether a call is let in: what cannot end in time is not, and where there is no room a fallback may have some."""

from __future__ import annotations

import asyncio

from msgspec import structs

from policies.provider_limits import TargetRules
from policies.rate_limit import Rates
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.execution.admission import Admission
from proxy.execution.line import Queueing
from proxy.execution.permits import Permit, Permits
from proxy.types import Attempt, Call, Condition, Outcome, Plan, Priority, Target
from tests.build import call, target, usage
from tests.rates import permits

ONE, OTHER, SPARE = target("up/one"), target("up/other"), target("up/spare")
RULES = TargetRules(targets={each.id: Rates(concurrency=1) for each in (ONE, OTHER)})
PATIENT = Queueing(wait_s=100.0)  # a goal of ten seconds


def plan(*steps: tuple[Target, ...]) -> Plan:
    spares: tuple[tuple[Condition, str], ...] = (("overload", "spare"),) * len(steps[1:])
    return Plan(mode="single", steps=steps, reason="asked", fallbacks=spares)


def asks(deadline_s: float = 600.0, priority: Priority = "standard") -> Call:
    now = loop_time()
    return structs.replace(call(deadline=now + deadline_s), arrived_at=now, priority=priority)


def outcome(seconds: float, *, of: Target = ONE, code: str | None = None) -> Outcome:
    attempt = Attempt(1, "first", of, 0.0, seconds, lesson="success", usage=usage())
    return Outcome(asks(), None, (attempt,), 200, seconds, error_code=code)


class Door:
    def __init__(self) -> None:
        self.clock = SystemClock(seed=1, now=loop_time)
        self.permits: Permits = permits(self.clock, RULES, PATIENT)
        self.admission = Admission(self.permits, self.clock)
        self._waiting: list[asyncio.Task[Permit | ProxyError]] = []

    def learns(self, seconds: float, of: Target = ONE) -> None:
        for _ in range(30):
            self.admission.observe(outcome(seconds, of=of))

    async def crowd(self, of: Target, calls: int, tasks: asyncio.TaskGroup) -> None:
        """One runs; the others wait for it."""
        for _ in range(calls + 1):
            claim = self.permits.claim(asks())
            self._waiting.append(tasks.create_task(self.permits.acquire(of, claim)))
        await asyncio.sleep(0.01)

    async def overload(self, of: Target, tasks: asyncio.TaskGroup) -> None:
        """Forty seconds' worth of calls wait, and have done so for a while."""
        await self.crowd(of, 40, tasks)
        for _ in range(40):
            self.admission.admit(asks(priority="critical"), plan((of,)))
            await asyncio.sleep(0.25)

    def refuses(self, asked: Call, made: Plan) -> str | None:
        admitted = self.admission.admit(asked, made)
        return admitted.code if isinstance(admitted, ProxyError) else None

    def leave(self) -> None:
        for task in self._waiting:
            task.cancel()


async def test_where_nothing_is_known_and_nobody_waits_everybody_is_let_in_as_planned() -> None:
    door, made = Door(), plan((ONE,), (SPARE,))
    assert door.admission.admit(asks(0.1), made) is made


async def test_half_of_such_answers_have_to_come_in_time_from_one_of_the_targets() -> None:
    door = Door()
    door.learns(10.0)
    assert door.refuses(asks(5.0), plan((ONE,))) == "deadline_exceeded"
    assert door.refuses(asks(15.0), plan((ONE,))) is None
    assert door.refuses(asks(5.0), plan((ONE, OTHER))) is None
    assert door.admission.shed == 0


async def test_the_answers_of_one_tenant_say_nothing_of_anothers() -> None:
    """Names of agents are their callers' own."""
    door = Door()
    door.learns(10.0)
    mine = asks(deadline_s=2.0)
    stranger = structs.replace(mine, identity=structs.replace(mine.identity, key_id="another-key"))
    assert isinstance(door.admission.admit(mine, plan((ONE,))), ProxyError)
    assert isinstance(door.admission.admit(stranger, plan((ONE,))), Plan)


async def test_answers_that_failed_or_lost_teach_nothing() -> None:
    door = Door()
    for _ in range(50):
        door.admission.observe(outcome(10.0, code="upstream_stalled"))
        lost = structs.replace(outcome(10.0).attempts[0], lesson="ignore")
        door.admission.observe(structs.replace(outcome(10.0), attempts=(lost,)))
    assert door.refuses(asks(5.0), plan((ONE,))) is None


async def test_the_line_counts_as_well() -> None:
    door = Door()
    door.learns(2.0)
    async with asyncio.TaskGroup() as tasks:
        await door.crowd(ONE, 5, tasks)
        assert door.refuses(asks(6.0), plan((ONE,))) == "deadline_exceeded", "five before it, and two seconds"
        assert door.refuses(asks(8.0), plan((ONE,))) is None
        assert door.refuses(asks(6.0, "critical"), plan((ONE,))) is None, "it waits behind nobody"
        door.leave()


async def test_in_an_overload_a_plan_begins_at_its_fallback_and_says_so() -> None:
    door = Door()
    async with asyncio.TaskGroup() as tasks:
        await door.overload(ONE, tasks)
        assert door.refuses(asks(priority="batch"), plan((ONE,))) == "overloaded"
        assert door.refuses(asks(priority="critical"), plan((ONE,))) is None
        begun = door.admission.admit(asks(priority="batch"), plan((ONE,), (SPARE,)))
        assert isinstance(begun, Plan)
        assert (begun.steps, begun.fallbacks) == (((SPARE,),), (("overload", "spare"),))
        assert door.refuses(asks(priority="batch"), plan((ONE, OTHER))) is None, "the other has room"
        assert door.admission.shed == 1
        door.leave()


async def test_when_all_fallbacks_are_full_the_first_refusal_counts() -> None:
    door = Door()
    async with asyncio.TaskGroup() as tasks:
        await door.overload(ONE, tasks)
        await door.overload(OTHER, tasks)
        refused = door.admission.admit(asks(priority="batch"), plan((ONE,), (OTHER,)))
        assert isinstance(refused, ProxyError)
        assert (refused.code, refused.status, refused.client_may_retry) == ("overloaded", 503, False)
        assert "up/one" in refused.message
        assert refused.retry_after_s is not None
        assert refused.retry_after_s > 5.0
        door.leave()
