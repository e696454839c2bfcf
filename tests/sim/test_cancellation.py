"""Enumerated cancellation: the handler is cancelled at its first wait, its second, its third ... until none is left.

Wherever a client leaves, there is one outcome, nothing is held, open or running, and the bill keeps to the rules.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest
from msgspec import structs

from policies.survival import Survival
from proxy.errors import ProxyError
from proxy.holds import Reservation
from proxy.providers.base import UpstreamRequest
from proxy.snapshot import AgentRules
from proxy.state.store import Ask
from proxy.surfaces.connection import Connection
from proxy.surfaces.request import Request
from proxy.types import AbortRule, Amounts, Outcome
from tests.flow.world import Peer, World, head, plain, streaming
from tests.money import WatchedBudgets
from tests.sim.gate import CACHED, OUTPUT, PLAIN, PROMPT, STREAM, SmallGate, answer
from tests.sim.vendor import Script, Step
from tests.sim.virtual import SeededClock, run

WAITS_MAX = 60


@types.coroutine
def cancelled_at(count: int, work: Coroutine[Any, Any, None], cancel: Callable[[], None]) -> Generator[Any, Any, int]:
    """Runs `work`, calls `cancel` just before its wait number `count`, and returns how many waits there were."""
    steps = work.__await__()
    send, value, waits = steps.send, None, 0
    while True:
        try:
            waiting = send(value)
        except StopIteration:
            return waits
        waits += 1
        if waits == count:
            cancel()
        try:
            value, send = (yield waiting), steps.send
        except BaseException as error:
            value, send = error, steps.throw


async def cancel_at(count: int, gate: SmallGate, raw: bytes) -> bool:
    """Whether there was a wait number `count`."""
    loop = asyncio.get_running_loop()

    def leave() -> None:
        gate.wire.leave()
        serving.cancel()

    async def handler() -> int:
        return await cancelled_at(count, gate.pipeline.serve(gate.call(raw), gate.wire, gate.snapshot), leave)

    serving = loop.create_task(handler())
    await asyncio.wait((serving,))
    await gate.check()
    return serving.cancelled() or serving.result() >= count


def enumerate_waits(make: Callable[[], SmallGate], raw: bytes) -> list[Outcome]:
    """The outcome for each wait at which the call was cancelled; the last is of the call that was left in peace."""
    outcomes = []
    for count in range(1, WAITS_MAX):

        async def once(count: int = count) -> tuple[bool, Outcome]:
            gate = make()
            return await cancel_at(count, gate, raw), gate.outcomes[0]

        reached, outcome = run(once())
        outcomes.append(outcome)
        if not reached:
            return outcomes
    raise AssertionError("the call never came to its end")


@pytest.mark.parametrize("raw", [PLAIN, STREAM], ids=["plain", "stream"])
@pytest.mark.parametrize("abort", ["stops", "continues", "unknown"])
def test_wherever_a_call_is_cancelled_nothing_is_left_of_it(raw: bytes, abort: AbortRule) -> None:
    outcomes = enumerate_waits(lambda: SmallGate(abort=abort, bills_on=abort == "continues"), raw)
    assert len(outcomes) > 3
    assert not outcomes[-1].client_gone
    for outcome in outcomes[:2]:
        assert outcome.client_gone
        assert outcome.status == 499
    if abort == "continues":  # sent, so it is read to its end for the bill, or held where there was no head yet
        assert all(attempt.usage is not None for outcome in outcomes for attempt in outcome.attempts)
    true = (PROMPT - CACHED) * 1_000 + CACHED * 100 + OUTPUT * 2_000
    assert outcomes[-1].cost_usd_nanos == true
    if abort != "stops":
        assert all((outcome.cost_usd_nanos or 0) >= true for outcome in outcomes)


@pytest.mark.parametrize("raw", [PLAIN, STREAM], ids=["plain", "stream"])
def test_a_retry_can_be_cancelled_at_every_wait(raw: bytes) -> None:
    outcomes = enumerate_waits(lambda: SmallGate(_Failing()), raw)
    assert len(outcomes[0].attempts) == 1
    assert len(outcomes[-1].attempts) == 2
    assert outcomes[-1].attempts[1].role == "retry"


@pytest.mark.parametrize("raw", [PLAIN, STREAM], ids=["plain", "stream"])
def test_an_error_can_be_cancelled_at_every_wait(raw: bytes) -> None:
    def broken(request: UpstreamRequest) -> Script:
        script = answer(request)
        return Script("cut", 200, script.headers, (Step(0.5, script.steps[0].data), *script.steps[1:3]), end="cut")

    outcomes = enumerate_waits(lambda: SmallGate(broken), raw)
    assert outcomes[-1].error_code == "upstream_broken"


@pytest.mark.parametrize("abort", ["stops", "continues", "unknown"])
@pytest.mark.parametrize("hold_tokens", [0, 2])
def test_a_stream_that_goes_on_elsewhere_can_be_cancelled_at_every_wait(abort: AbortRule, hold_tokens: int) -> None:
    rules = AgentRules(survival=Survival("continue", hold_tokens))

    def make() -> SmallGate:
        return SmallGate(_Dying(), abort=abort, bills_on=abort == "continues", rules=rules, twin=True)

    outcomes = enumerate_waits(make, STREAM)
    whole = outcomes[-1]
    assert (whole.error_code, whole.client_gone) == (None, False)
    assert whole.decisions[-1].said.endswith(", v/twin goes on")
    assert [each.role for each in whole.attempts] == ["first", "retry"]
    assert len({len(outcome.attempts) for outcome in outcomes}) == 2


def test_a_reply_that_was_counted_can_be_cancelled_at_every_wait_of_the_count_but_its_last_one() -> None:
    outcomes = enumerate_waits(lambda: SmallGate(stream_usage=False), STREAM)
    assert outcomes[-1].attempts[0].usage is not None
    assert outcomes[-1].attempts[0].usage.source == "counted"


@pytest.mark.parametrize("raw", [PLAIN, STREAM], ids=["plain", "stream"])
async def test_the_handler_can_be_cancelled_at_every_wait_from_the_body_on(raw: bytes) -> None:
    for count in range(1, WAITS_MAX):
        if not await handled(count, raw):
            assert count > 3
            return
    raise AssertionError("the handler never came to its end")


async def handled(count: int, raw: bytes) -> bool:
    """Over sockets, with a body that comes after its head; whether the handler had a wait number `count`."""
    waits = []

    async def slowly(peer: Peer) -> None:
        await asyncio.sleep(1)
        await (streaming if b"stream" in raw else plain)(peer)

    async with World(slowly) as world:
        server = world._server
        assert server is not None
        serve = server.handler

        async def handler(request: Request, connection: Connection) -> bool:
            task = asyncio.current_task()
            assert task is not None
            waits.append(await cancelled_at(count, serve(request, connection), task.cancel))
            return False

        server.handler = handler
        _, writer = await world.connect()
        writer.write(head(raw, path="/v1/chat/completions"))
        await asyncio.sleep(0.5)
        writer.write(raw)
        await asyncio.sleep(10)
        assert len(world.outcomes) == 1
        assert len(world.upstreams[0].requests) <= len(world.outcomes[0].attempts) <= 1
    assert world.transport.open_connections == 0
    return not waits or waits[0] >= count


class _Dying:
    """Breaks its first stream off after three tokens."""

    def __init__(self) -> None:
        self._asked = 0

    def __call__(self, request: UpstreamRequest) -> Script:
        self._asked += 1
        script = answer(request)
        return script if self._asked > 1 else structs.replace(script, steps=script.steps[:4], end="cut")


class _Failing:
    """A reset before the first head, then the answer."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, request: UpstreamRequest) -> Script:
        self._calls += 1
        if self._calls > 1:
            return answer(request)
        return Script("reset", fault=lambda: ProxyError("upstream_unreachable", "reset"), head_at=0.1, billed=False)


class WaitingStore(WatchedBudgets):
    """A store that is somewhere else: its answers take a while, before and after it has acted."""

    async def reserve(self, id: str, path: tuple[str, ...], ask: Ask, *, ttl_s: float) -> Reservation | ProxyError:
        await asyncio.sleep(0.001)
        reserved = await super().reserve(id, path, ask, ttl_s=ttl_s)
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            if isinstance(reserved, Reservation):
                self.void(reserved)
            raise
        return reserved


@pytest.mark.parametrize("raw", [PLAIN, STREAM], ids=["plain", "stream"])
def test_with_a_store_that_waits_nothing_is_left_either(raw: bytes) -> None:
    enumerate_waits(lambda: SmallGate(store=WaitingStore(SeededClock(1))), raw)


class RefusingStore(WatchedBudgets):
    """Fails its n-th reservation."""

    def __init__(self, failing: int) -> None:
        super().__init__(SeededClock(1))
        self._left = failing

    async def reserve(self, id: str, path: tuple[str, ...], ask: Ask, *, ttl_s: float) -> Reservation | ProxyError:
        self._left -= 1
        if self._left == 0:
            return ProxyError("budget_exceeded", "scripted")
        return await super().reserve(id, path, ask, ttl_s=ttl_s)

    async def extend(self, reservation: Reservation, total: Amounts) -> Reservation | ProxyError:
        self._left -= 1
        if self._left == 0:
            return ProxyError("budget_exceeded", "scripted")
        return await super().extend(reservation, total)


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_whichever_reservation_is_refused_nothing_is_sent_without_a_hold(failing: int) -> None:
    async def once() -> None:
        gate = SmallGate(_Failing(), store=RefusingStore(failing))
        outcome = await gate.serve(STREAM)
        assert (outcome.error_code == "budget_exceeded") == (failing < 3)
        assert len(gate.vendor.sales) == min(failing - 1, 2)
        assert len(outcome.attempts) == min(failing - 1, 2)
        assert gate.store.live == 0

    run(once())
