"""What has hours waits for a quiet time: once, in line, never past its rescue, not at all when its client leaves."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest
from msgspec import structs

from policies.off_peak import SLACK_S
from policies.provider_limits import TargetRules
from policies.rate_limit import RateRules, Rates
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.line import Claim, Queueing
from proxy.execution.off_peak import APART_S, LOOK_EVERY_S, Ended, OffPeak
from proxy.execution.permits import Permit
from proxy.execution.record import Record
from proxy.pressure import Pressure
from proxy.types import Call, Period
from tests.money import WatchedBudgets
from tests.sim.client import Wire
from tests.sim.gate import PLAIN, SmallGate
from tests.sim.virtual import SeededClock

HOURS = 4 * 3_600.0


class Told:
    def __init__(self) -> None:
        self.began_of = Counter[str]()
        self.ends = Counter[str]()

    def began(self, route: str) -> None:
        self.began_of[route] += 1

    def ended(self, route: str, how: Ended) -> None:
        self.ends[how] += 1


class Hurried(WatchedBudgets):
    """Whose budget is spent far ahead of its calendar, until an instant."""

    def __init__(self, clock: Clock, until: float) -> None:
        super().__init__(clock)
        self._clock, self._until = clock, until

    def pressure(self, path: tuple[str, ...]) -> Pressure:
        ahead = self._clock.now() < self._until
        return Pressure(pace=10 if ahead else 9, limit=100, period=Period("key:k", "usd", "day", 1, "key:k"))


class House:
    """A gate whose one target takes two calls at a time."""

    def __init__(
        self, *, places: int = 2, calls_max: int = 100, agent: Rates | None = None, ahead_until: float = 0.0
    ) -> None:
        self.gate = SmallGate(store=Hurried(SeededClock(1), ahead_until))
        self.told = Told()
        self.gate.permits.replace(TargetRules({"v/real": Rates(concurrency=places)}, {}), Queueing(10.0, calls_max))
        self.gate.rates.replace(RateRules(agents={} if agent is None else {"a": agent}), Queueing())
        admission = self.gate.admission
        self.off_peak = admission.off_peak = OffPeak(
            self.gate.clock, self.gate.permits, rates=self.gate.rates, p99_s=admission.p99_s, heard=self.told
        )

    def call(self, *, allowed_s: float = HOURS, batch: bool = True) -> Call:
        call = self.gate.call(PLAIN, allowed_s=allowed_s)
        return structs.replace(call, priority="batch" if batch else "standard")

    def occupy(self) -> Permit:
        """Somebody else's call, which runs until its permit is released."""
        (target,) = self.gate.snapshot.planner.routes.fixed_targets
        permit = self.gate.permits.at_once(target, Claim(self.call(batch=False)))
        assert permit is not None
        return permit

    def ask(self, call: Call, wire: Wire) -> asyncio.Task[Record]:
        served = self.gate.pipeline.serve(call, wire, self.gate.snapshot)
        return asyncio.ensure_future(served)  # noqa: TID251

    @property
    def sent(self) -> int:
        return len(self.gate.vendor.sales)


async def test_where_it_is_quiet_nothing_is_held() -> None:
    house, wire = House(), Wire()
    record = await house.ask(house.call(), wire)
    assert (wire.status, record.held, house.told.ends, house.off_peak.waiting) == (200, "", Counter(), 0)
    assert "x-headgate-held" not in wire.headers


@pytest.mark.parametrize(("allowed_s", "batch"), [(SLACK_S - 1, True), (HOURS, False)])
async def test_only_what_has_hours_is_held(allowed_s: float, batch: bool) -> None:
    house, wire = House(), Wire()
    house.occupy()
    record = await house.ask(house.call(allowed_s=allowed_s, batch=batch), wire)
    assert (wire.status, record.held, house.told.began_of) == (200, "", Counter())


async def test_a_call_goes_once_when_it_is_quiet_and_is_told_what_it_waited_for() -> None:
    house, wire = House(), Wire()
    others = house.occupy()
    task = house.ask(house.call(), wire)
    await asyncio.sleep(1_000)
    assert (house.sent, house.off_peak.waiting, house.gate.store.live) == (0, 1, 0), "and nothing is taken meanwhile"
    others.release(None)
    record = await task
    assert (wire.status, house.sent) == (200, 1)
    waited, how = wire.headers["x-headgate-held"].split("; ")
    assert (float(waited), how) == (pytest.approx(1_000, abs=2 * LOOK_EVERY_S), "quiet")
    said = [decision.said for decision in record.decisions or ()]
    assert any("v/real is in use by others" in each and "quiet time" in each for each in said)
    assert record.waited_s(house.gate.clock.now()) >= 1_000, "the wait is no overhead of the gate"
    assert (house.told.began_of, house.told.ends) == (Counter({"m": 1}), Counter({"quiet": 1}))
    assert repr(house.off_peak) == "OffPeak(0 waiting in 0 lines)"


async def test_who_waits_in_vain_is_rescued_while_there_is_time_for_its_answer() -> None:
    house, wire = House(), Wire()
    house.occupy()
    call = house.call()
    record = await house.ask(call, wire)
    assert (wire.status, house.sent, house.told.ends) == (200, 1, Counter({"rescued": 1}))
    went_at = record.attempts[0].started_at
    assert call.deadline - went_at == pytest.approx(SLACK_S, abs=1.0)
    assert record.call.priority == "standard", "it is not shed before others then"
    assert wire.headers["x-headgate-held"].endswith("; rescued")


async def test_slow_answers_bring_the_rescue_forward() -> None:
    house, wire = House(), Wire()
    for _ in range(3):
        await house.ask(house.call(batch=False), Wire())
    for outcome in house.gate.outcomes:
        house.gate.admission.observe(outcome)
    house.occupy()
    call = house.call()
    record = await house.ask(call, wire)
    p99_s = house.gate.admission.p99_s(call, record.attempts[0].target)
    assert p99_s > 1.0
    assert call.deadline - record.attempts[0].started_at == pytest.approx(SLACK_S + 2 * p99_s, abs=1.0)


async def test_a_rescued_call_stands_in_line_for_as_long_as_it_has() -> None:
    house, wire = House(places=1), Wire()
    others = house.occupy()
    call = house.call()
    task = house.ask(call, wire)
    await asyncio.sleep(HOURS - SLACK_S + 300)
    assert (house.sent, house.gate.permits.waiting) == (0, 1), "longer than any line is waited in else"
    others.release(None)
    await task
    assert (wire.status, house.sent) == (200, 1)


async def test_a_client_that_leaves_is_not_asked_for() -> None:
    house, wire = House(), Wire()
    others = house.occupy()
    task = house.ask(house.call(), wire)
    await asyncio.sleep(100)
    task.cancel()
    await asyncio.wait([task])
    others.release(None)
    await asyncio.sleep(100)
    assert (house.sent, house.off_peak.waiting, house.told.ends) == (0, 0, Counter({"left": 1}))
    (outcome,) = house.gate.outcomes
    assert outcome.client_gone


async def test_no_more_wait_than_may() -> None:
    house, wire = House(calls_max=1), Wire()
    house.occupy()
    task = house.ask(house.call(), Wire())
    await asyncio.sleep(10)
    record = await house.ask(house.call(), wire)
    assert (wire.status, record.held, house.off_peak.turned_away) == (200, "", 1), "it goes as any other"
    task.cancel()
    await asyncio.wait([task])


async def test_a_herd_leaves_one_by_one_in_its_order() -> None:
    house = House(places=100)
    others = [house.occupy() for _ in range(50)]
    tasks = []
    for _ in range(5):
        tasks.append(house.ask(house.call(), Wire()))
        await asyncio.sleep(1)
    for permit in others:
        permit.release(None)
    records = await asyncio.gather(*tasks)
    went = [record.attempts[0].started_at for record in records]
    order = [f"{later - earlier:.3f}" for earlier, later in pairwise(went)]
    assert order == [f"{APART_S:.3f}"] * 4


async def test_limits_of_its_own_are_waited_for_too_and_not_held_meanwhile() -> None:
    house = House(places=100, agent=Rates(concurrency=1))
    wires = [Wire() for _ in range(4)]
    tasks = [house.ask(house.call(), wire) for wire in wires]
    await asyncio.sleep(0.5)
    assert house.off_peak.waiting == 3
    await asyncio.gather(*tasks)
    assert [wire.status for wire in wires] == [200] * 4


async def test_a_budget_that_runs_ahead_holds_them_as_well() -> None:
    house, wire = House(ahead_until=5_000.0), Wire()
    record = await house.ask(house.call(), wire)
    assert house.gate.clock.now() == pytest.approx(5_000.0, abs=3 * LOOK_EVERY_S)
    assert "its budget is spent ahead of its time" in (record.decisions or [])[0].said
    assert (wire.status, house.told.ends) == (200, Counter({"quiet": 1}))


async def test_a_stop_ends_what_is_held_at_once_and_tells_it() -> None:
    house, wire = House(), Wire()
    house.occupy()
    task = house.ask(house.call(), wire)
    await asyncio.sleep(10)
    began = house.gate.clock.now()
    await house.gate.pipeline.drain(60.0)
    assert house.gate.clock.now() - began < 1.0
    record = await task
    assert isinstance(record.error, ProxyError)
    assert (wire.status, record.error.code, house.sent) == (503, "shutting_down", 0)
