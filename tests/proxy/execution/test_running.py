"""The word of an interruption is told apart from a client that leaves, and nobody is interrupted twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from policies.runs import Run, RunLimits
from proxy.errors import ProxyError
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.execution.running import Running
from tests import build
from tests.sim.gate import SmallGate

KILLED = ProxyError("run_killed", "killed")
PAUSED = ProxyError("run_paused", "paused")


async def interrupted(act: Callable[[Running], None]) -> tuple[ProxyError | None, int]:
    """What a call that waits is told after `act`, and how many cancellations are left."""
    gate = SmallGate()
    begun: asyncio.Future[Running] = asyncio.get_running_loop().create_future()

    async def call() -> tuple[ProxyError | None, int]:
        running = Running(Record(build.call(), Purse(gate.store, "c", (), 60.0)), None)
        begun.set_result(running)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return running.why(), running.task.cancelling()
        raise AssertionError("nobody came")

    made = asyncio.ensure_future(call())  # noqa: TID251
    act(await begun)
    return await made


async def test_a_word_is_heard_and_the_cancellation_taken_back() -> None:
    assert await interrupted(lambda running: _say(running, KILLED)) == (KILLED, 0)


async def test_a_client_that_leaves_says_nothing() -> None:
    assert await interrupted(_leave) == (None, 1)


async def test_a_client_that_leaves_at_the_same_time_has_left() -> None:
    def both(running: Running) -> None:
        _say(running, KILLED)
        _leave(running)

    assert await interrupted(both) == (None, 1)


async def test_the_first_word_counts_and_cancels_once() -> None:
    def twice(running: Running) -> None:
        _say(running, PAUSED)
        _say(running, KILLED)

    assert await interrupted(twice) == (PAUSED, 0)


async def test_whoever_is_ending_or_has_its_reply_is_left_alone() -> None:
    gate = SmallGate()
    running = Running(Record(build.call(), Purse(gate.store, "c", (), 60.0)), None)
    running.record.delivered = True
    assert not running.interrupt(KILLED)
    running.record.delivered = False
    running.settle()
    assert not running.interrupt(KILLED)
    assert running.task.cancelling() == 0


async def test_its_settlement_can_be_waited_for_before_and_after() -> None:
    gate = SmallGate()
    running = Running(Record(build.call(), Purse(gate.store, "c", (), 60.0)), None)
    before = running.settled()
    assert not before.done()
    running.settle()
    running.settle()
    assert before.done()
    assert running.settled().done()


def _say(running: Running, word: ProxyError) -> None:
    assert running.interrupt(word)


def _leave(running: Running) -> None:
    running.task.cancel()


LIMITED = [
    (None, None, 1600.0),
    (200.0, None, 1200.0),
    (None, 200.0, 1200.0),
    (900.0, None, 1600.0),
    (300.0, 200.0, 1200.0),
    (0.5, None, 1000.5),
]


@pytest.mark.parametrize(("own", "above", "deadline"), LIMITED)
async def test_a_call_may_not_outlive_its_run_or_one_above_it(
    own: float | None, above: float | None, deadline: float
) -> None:
    top = Run("top", (), 1000.0, None)
    run = Run("low", (top,), 1000.0, None)
    top.limits, run.limits = RunLimits(seconds=above), RunLimits(seconds=own)
    running = Running(Record(build.call(), Purse(SmallGate().store, "c", (), 60.0)), run)
    assert running.bounded().deadline == running.record.call.deadline == deadline
    assert running.ends_with_run == (deadline < 1600.0)
