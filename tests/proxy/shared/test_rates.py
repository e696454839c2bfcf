"""Gates that count together: few questions, nobody waits long, nothing is lost whoever leaves."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from policies.breaker_state import CONSECUTIVE
from policies.rate_limit import RateRules, Rates
from policies.shared_rate import IDLE_S, SharedAccount, Slice
from policies.usual_output import UsualOutput
from proxy.clock import SystemClock, loop_time
from proxy.errors import ProxyError
from proxy.execution.line import Queueing
from proxy.money.rate_limits import Quota, RateLimits
from proxy.shared.link import HEARD_S, RETURN_S, Link
from proxy.shared.rates import SharedRates
from proxy.tasks import Tasks
from proxy.types import Attempt, Identity, Usage
from tests.build import call, target
from tests.rates import Refusals
from tests.shared_store import FakeStore


class Silent:
    def asked(self, operation: str, outcome: str, seconds: float) -> None: ...

    def skipped(self, operation: str) -> None: ...


class Gate:
    """The rate limits of one of `gates` processes, over `store`."""

    def __init__(self, store: FakeStore, rules: RateRules, gates: int = 3) -> None:
        clock = SystemClock(seed=1, now=loop_time)
        self.errors: list[BaseException] = []
        tasks = Tasks(lambda _, error: self.errors.append(error))
        opening = partial(SharedAccount, processes=1, holders=gates)
        queueing = Queueing(wait_s=10)
        self.limits = RateLimits(
            rules, clock, usual=UsualOutput(), on_refused=Refusals(), queueing=queueing, opening=opening
        )
        self.link = Link(store, clock, timeout_s=0.05, heard=Silent(), tell=lambda *_: None)
        self.common = SharedRates(self.link, clock, tasks, "hg")
        self.limits.common = self.common

    def quota(self, agent: str = "a", key: str = "k") -> Quota:
        found = self.limits.quota(call(identity=Identity(key_id=key, agent=agent), deadline=1e9))
        assert found is not None
        return found

    async def admit(self, agent: str = "a", key: str = "k") -> ProxyError | None:
        return await self.quota(agent, key).admit()


def world(gates: int = 3, **rates: int) -> tuple[FakeStore, list[Gate]]:
    store = FakeStore(loop_time)
    rules = RateRules(each_agent=Rates(**rates))
    return store, [Gate(store, rules, gates) for _ in range(gates)]


async def admitted(gates: list[Gate], calls: int) -> int:
    ends = await asyncio.gather(*[gates[at % len(gates)].admit() for at in range(calls)])
    return sum(end is None for end in ends)


async def test_gates_admit_the_limit_together_and_not_one_call_more() -> None:
    store, gates = world(rpm=600)
    store.delay_s = 0.002
    assert 600 - 30 <= await admitted(gates, 900) <= 600
    assert await admitted(gates, 30) <= 30
    await asyncio.sleep(6)
    assert 50 <= await admitted(gates, 300) <= 61


async def test_one_gate_alone_has_all_but_the_slices_of_the_others() -> None:
    _, gates = world(rpm=600)
    assert await admitted(gates[:1], 900) == 600 - 30


async def test_a_busy_gate_asks_now_and_then_and_no_call_waits_for_it() -> None:
    store, gates = world(rpm=6_000)
    assert await gates[0].admit() is None
    store.asked.clear()
    began = loop_time()
    for _ in range(500):
        store.delay_s = 0.001
        assert gates[0].quota().take()
        await asyncio.sleep(0.012)
    assert len(store.asked) <= 500 / 10
    assert loop_time() - began == pytest.approx(6.0, abs=0.1)


async def test_small_limits_are_counted_call_by_call() -> None:
    _, gates = world(rpm=3)
    assert await admitted(gates, 9) == 3
    refused = await gates[0].admit()
    assert refused is not None
    assert refused.code == "rate_limit_exceeded"
    assert refused.retry_after_s == pytest.approx(20.0, abs=0.1)


async def test_tokens_and_requests_of_key_and_agent_are_taken_together_or_not_at_all() -> None:
    store = FakeStore(loop_time)
    rules = RateRules(keys={"k": Rates(rpm=1_000)}, each_agent=Rates(rpm=2))
    gates = [Gate(store, rules) for _ in range(3)]
    assert await admitted(gates, 30) == 2
    assert sum([await gate.admit("b") is None for gate in gates]) == 2
    in_hand = 3 * 16
    fully = await asyncio.gather(*[gates[at % 3].admit(f"agent {at}") for at in range(1_200)])
    assert 1_000 - 4 - in_hand <= sum(end is None for end in fully) <= 1_000 - 4


async def test_what_was_estimated_too_low_is_owed_and_what_was_too_high_comes_back() -> None:
    store, gates = world(tpm=100_000)
    first = gates[0].quota()
    assert await first.admit() is None
    left = store.model.buckets["agent:a:tokens"]
    first.end([_attempt(60_000)])
    await gates[0].common.settle()
    assert store.model.buckets["agent:a:tokens"][0] - left[0] > 30
    await asyncio.sleep(1)
    second = gates[1].quota()
    assert await second.admit() is None
    second.end([_attempt(1)])
    before = store.model.buckets["agent:a:tokens"][0]
    await gates[1].common.settle()
    assert store.model.buckets["agent:a:tokens"][0] < before


async def test_idle_slices_go_back_and_so_does_everything_at_the_end() -> None:
    store, gates = world(rpm=600)
    for gate in gates:
        assert await gate.admit() is None
    await asyncio.sleep(IDLE_S + 0.1)
    await gates[0].common.settle()
    await gates[1].common.close()
    assert gates[0].quota().accounts[0].requests.hand == 0  # type: ignore[union-attr]
    assert await admitted(gates[2:], 900) >= 600 - 30 - 1
    await asyncio.gather(*[gate.common.close() for gate in gates])
    (full_at, _) = store.model.buckets["agent:a:requests"]
    assert full_at - loop_time() == pytest.approx(60 * (570 / 600), abs=1.0)


async def test_a_flood_of_agents_leaves_no_backlog_behind() -> None:
    _, (gate,) = world(gates=1, rpm=600)
    for number in range(7_200):
        assert await gate.admit(f"agent {number}") is None
        if number % 600 == 0:
            await asyncio.sleep(1.0)
            await gate.common.settle()
    await asyncio.sleep(IDLE_S + 0.1)
    for _ in range(12):
        await gate.common.settle()
    assert not gate.common._moved


async def test_a_client_that_leaves_while_the_store_is_asked_takes_nothing() -> None:
    store, gates = world(rpm=600)
    store.delay_s = 0.02
    quota = gates[0].quota()
    asking = asyncio.gather(quota.admit())
    await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.sleep(1)
    assert quota.accounts[0].running == 0
    assert quota.take()  # what was granted is there for the next


async def test_a_call_that_waits_for_running_ones_asks_when_its_turn_comes() -> None:
    _, gates = world(rpm=30, concurrency=1)
    first, second = gates[0].quota(), gates[0].quota()
    assert await first.admit() is None
    waiting = asyncio.gather(second.admit())
    await asyncio.sleep(1)
    first.end([])
    assert await waiting == [None]
    assert gates[0].limits.running == 1


async def test_a_store_that_is_out_costs_two_waits_and_then_none() -> None:
    store, gates = world(rpm=6)
    store.delay_s = 0.2
    waits = []
    for _ in range(CONSECUTIVE):
        began = loop_time()
        assert await gates[0].admit() is not None
        waits.append(loop_time() - began)
    assert max(waits) <= 0.1001
    assert waits[-1] == 0.0


async def test_without_the_store_all_gates_together_stay_within_the_limit() -> None:
    store, gates = world(rpm=60)
    assert 54 <= await admitted(gates, 90) <= 60
    store.broken = True
    began, count = loop_time(), 0
    while loop_time() < began + 60:
        count += await admitted(gates, 3)
        await asyncio.sleep(0.5)
    assert 60 - HEARD_S - 3 <= count <= 60


async def test_what_was_served_alone_is_told_when_the_store_is_back() -> None:
    store, gates = world(rpm=60)
    assert await gates[0].admit() is None
    store.broken = True
    await asyncio.sleep(30)
    assert await admitted(gates, 30) > 20
    store.broken = False
    for gate in gates:
        await gate.link.probe()
        await gate.common.settle()
    assert await admitted(gates, 90) <= 60 - 20


async def test_a_gate_that_finds_the_store_back_first_does_not_take_what_others_have_not_told_yet() -> None:
    store, gates = world(rpm=60)
    for gate in gates:
        assert await gate.admit() is None
    store.broken = True
    await asyncio.sleep(60)
    began, count = loop_time(), 0
    while gates[0].link.up or gates[1].link.up or gates[2].link.up:
        count += await admitted(gates, 9)
    count += await admitted(gates[:2], 60)
    assert count >= 36  # two parts of three
    store.broken = False
    await gates[2].link.probe()
    count += await admitted(gates[2:], 60)
    await asyncio.sleep(0.9)
    for gate in gates[:2]:
        await gate.link.probe()
        await gate.common.settle()
    await asyncio.sleep(RETURN_S)
    for gate in gates:
        await gate.common.settle()
    count += await admitted(gates, 180)
    assert count <= 60 + loop_time() - began


async def test_an_emptied_store_does_not_allow_everything_again() -> None:
    store, gates = world(rpm=60)
    assert 54 <= await admitted(gates, 90) <= 60
    store.model.empty()
    assert await admitted(gates, 90) <= 3
    await asyncio.sleep(30)
    assert await admitted(gates, 90) <= 30


async def test_the_headers_figures_count_down_over_all_gates() -> None:
    _, gates = world(rpm=600)
    assert await admitted(gates[:2], 100) == 100
    quota = gates[2].quota()
    assert await quota.admit() is None
    limit, remaining, reset_s = quota.standing("requests") or (0, 0, 0.0)
    assert limit == 600
    assert 600 - 101 - 30 - 20 - 1 <= remaining <= 600 - 101
    assert 10 <= reset_s <= 16


def _attempt(tokens: int) -> Attempt:
    usage = Usage(input_uncached=tokens, output=0)
    return Attempt(number=1, role="first", target=target(), started_at=0, duration_s=1, lesson="success", usage=usage)


async def test_greeting_connects_and_takes_nothing() -> None:
    store, gates = world(rpm=600)
    await gates[0].common.greet()
    assert (store.asked, store.model.buckets) == (["run"], {})
    store.model.empty()  # which it would notice now
    assert await gates[0].admit() is not None


async def test_a_defect_of_the_store_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    store, gates = world(rpm=600)
    real = store.run
    monkeypatch.setattr(store, "run", lambda *_: 1 / 0)
    began = loop_time()
    refused = await asyncio.gather(*[gates[0].admit() for _ in range(100)])
    assert all(error is not None and error.code == "rate_limit_exceeded" for error in refused)
    assert loop_time() == began
    assert isinstance(gates[0].errors[0], ZeroDivisionError)
    monkeypatch.setattr(store, "run", real)
    assert await gates[0].admit() is None


async def test_what_one_question_confirms_is_not_taken_for_what_another_one_tells() -> None:
    store, gates = world(tpm=600_000)
    first = gates[0].quota()
    assert await first.admit() is None
    bucket = first.accounts[0].tokens
    assert isinstance(bucket, Slice)
    first.end([_attempt(50_000)])
    await asyncio.sleep(1)  # its slice has been filled again
    bucket.correct(30_000, 0.0, loop_time())
    store.delay_s = 0.03
    settling = asyncio.gather(gates[0].common.settle())
    await asyncio.sleep(0.01)
    bucket.correct(20_000, 0.0, loop_time())
    store.deaf = True
    second = gates[0].quota()
    second.tokens = 30_000
    assert await second.admit() is not None
    await settling
    assert bucket.owed == 20_000
