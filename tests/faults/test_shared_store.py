"""F47, F48 and F50: the store that gates share is down, refuses, swallows, is four times too late, or is back empty.

Calls go on in every one of these worlds, and what all gates admit together never passes what one bucket would have:
the limit, and what it fills since. Time is real here, so nothing is asserted of how long something took.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from loadtests.fault_proxy import Fault, FaultProxy, Way
from proxy.shared.link import RETURN_S
from tests.faults.shared_gates import Gates
from tests.redis_server import RedisServer, free_port

pytestmark = pytest.mark.slow

RPM = 600
RULES: dict[str, object] = {"rpm": RPM}
TIMEOUT_S = 1.0  # more than a busy machine lets a loop wait

Happens = Callable[[RedisServer, FaultProxy], Awaitable[None]]


class Bound:
    """What one bucket would have admitted since it was made."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self.admitted = 0

    async def calls(self, gates: Gates, count: int) -> int:
        ended = await gates.calls(count)
        assert set(ended) <= {200, 429}, ended
        self.admitted += ended[200]
        assert self.admitted <= self.allowed()
        return ended[200]

    def allowed(self) -> float:
        passed_s = asyncio.get_running_loop().time() - self._began
        return RPM + RPM / 60 * passed_s + 1


async def killed(server: RedisServer, between: FaultProxy) -> None:
    server.kill()


async def frozen(server: RedisServer, between: FaultProxy) -> None:
    server.freeze()


async def refused(server: RedisServer, between: FaultProxy) -> None:
    between.fault = Fault(refuse=True)
    between.drop()


async def swallowed(server: RedisServer, between: FaultProxy) -> None:
    between.fault = Fault(black_hole=True)
    between.drop()


async def slow(server: RedisServer, between: FaultProxy) -> None:
    between.fault = Fault(down=Way(delay=4 * TIMEOUT_S))


async def mended(server: RedisServer, between: FaultProxy, what: Happens) -> None:
    between.fault = Fault()
    between.drop()
    if what is killed:
        server.start()
    if what is frozen:
        server.thaw()


async def failures(gates: Gates) -> float:
    """Of the first gate, when it asked for what it may admit."""
    name = "headgate_shared_operations_total"
    return sum([await gates.metric(0, f'{name}{{op="rates",outcome="{how}"}}') for how in ("timeout", "error")])


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(killed, id="F47 down, and F50 back with nothing in it"),
        pytest.param(refused, id="F47 refused"),
        pytest.param(swallowed, id="F47 black hole"),
        pytest.param(frozen, id="F47 a process that hangs"),
        pytest.param(slow, id="F48 four times too late"),
    ],
)
async def test_calls_go_on_within_the_limit_and_gates_find_back(
    redis: RedisServer, what: Happens, tmp_path: Path
) -> None:
    between = FaultProxy("127.0.0.1", redis.port)
    await between.start()
    url = f"redis://127.0.0.1:{between.port}/0"
    async with Gates(tmp_path, url, RULES, timeout_ms=round(TIMEOUT_S * 1_000)) as gates:
        bound = Bound()
        assert await bound.calls(gates, 300) > 200
        await what(redis, between)
        for _ in range(3):
            await bound.calls(gates, 40)
        await gates.until("out")
        await asyncio.sleep(2 * TIMEOUT_S)  # what was asked before it was known has ended
        waited_for = await failures(gates)
        for _ in range(20):
            await bound.calls(gates, 20)
            await asyncio.sleep(0.1)
        assert await gates.metric(0, 'headgate_shared_breaker_state{state="open"}') == 1
        assert await failures(gates) == waited_for  # no call waits for it any more
        await mended(redis, between, what)
        await gates.until("ok")
        for _ in range(10):
            await bound.calls(gates, 100)
            await asyncio.sleep(0.2)
        before = bound.allowed()
        granted = await bound.calls(gates, 900)
        assert granted < 300 + bound.allowed() - before  # a store that was emptied has not forgotten everything
        assert await gates.told_of_each_return() >= len(gates.gates)
    await between.stop()


async def test_gates_that_start_without_the_store_serve_and_find_it_later(redis: RedisServer, tmp_path: Path) -> None:
    redis.kill()
    async with Gates(tmp_path, redis.url, RULES, timeout_ms=2_000) as gates:
        bound = Bound()
        await gates.until("out")
        await asyncio.sleep(2)
        assert await bound.calls(gates, 60) > 0
        redis.start()
        await gates.until("ok")
        await asyncio.sleep(2 * RETURN_S)  # all have told what they did alone
        assert await bound.calls(gates, 100) > 50


async def test_hundreds_of_calls_at_once_over_three_gates_are_counted_together(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with Gates(tmp_path, redis.url, RULES, count=3, timeout_ms=5_000) as gates:
        bound = Bound()
        assert await bound.calls(gates, 1_200) >= RPM * 0.95
        last = await gates.call(2)
        assert last.headers["x-ratelimit-limit-requests"] == str(RPM)
        assert bound.admitted + int(last.headers["x-ratelimit-remaining-requests"]) <= bound.allowed()


@pytest.mark.usefixtures("real_time")
async def test_an_address_where_nobody_is_costs_no_call_its_answer(tmp_path: Path) -> None:
    async with Gates(tmp_path, f"redis://:pass@127.0.0.1:{free_port()}/0", {}) as gates:
        assert await gates.calls(50) == {200: 50}
        assert b"pass" not in gates.log.getvalue()


async def test_an_answer_of_one_gate_is_a_hit_at_another_and_a_miss_while_the_store_is_out(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_PEPPER", "one pepper for all gates, kept elsewhere")

    async with Gates(tmp_path, redis.url, {"cache": {"exact": "on"}}, timeout_ms=2_000) as gates:
        first = await gates.call(0)
        assert first.headers["x-headgate-cache"] == "miss"
        await gates.until_metric(0, 'headgate_shared_operations_total{op="put",outcome="ok"}', 1)
        again = await gates.call(1)
        assert again.headers["x-headgate-cache"] == "hit"
        assert again.body == first.body
        assert (await gates.call(1, agent="b")).headers["x-headgate-cache"] == "miss"
        await gates.call(0, content="other")
        await gates.until_metric(0, 'headgate_shared_operations_total{op="put",outcome="ok"}', 2)
        redis.kill()
        assert (await gates.call(1, content="other")).headers["x-headgate-cache"] == "miss"
        assert (await gates.call(1)).headers["x-headgate-cache"] == "hit"  # it has kept it


async def test_gates_of_two_peppers_find_nothing_of_each_other(redis: RedisServer, tmp_path: Path) -> None:
    async with Gates(tmp_path, redis.url, {"cache": {"exact": "on"}}, timeout_ms=2_000) as gates:
        await gates.call(0)
        await gates.until_metric(0, 'headgate_shared_operations_total{op="put",outcome="ok"}', 1)
        assert (await gates.call(1)).headers["x-headgate-cache"] == "miss"
