"""An alarm ends what takes too long, and never takes another's cancellation for its own."""

from __future__ import annotations

import asyncio

import pytest

from proxy.alarm import Alarm, Alarms
from tests.loop import VirtualLoop


async def test_what_ends_in_time_is_left_alone() -> None:
    loop = asyncio.get_running_loop()
    with Alarm(loop.time() + 5):
        await asyncio.sleep(4.9)
    await asyncio.sleep(10)  # it does not ring afterwards


async def test_what_takes_too_long_is_a_timeout_at_that_instant() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError), Alarm(began + 5):
        await asyncio.sleep(100)
    assert loop.time() - began == pytest.approx(5)
    await asyncio.sleep(1)  # the task goes on as if nothing had been cancelled
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_instant_that_has_passed_rings_at_the_first_wait() -> None:
    with pytest.raises(TimeoutError), Alarm(asyncio.get_running_loop().time() - 1):
        await asyncio.sleep(1)


async def test_who_is_cancelled_from_outside_is_cancelled() -> None:
    async def waiting() -> None:
        with Alarm(asyncio.get_running_loop().time() + 5):
            await asyncio.sleep(100)

    task = asyncio.get_running_loop().create_task(waiting())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_same_instant_wins() -> None:
    loop = asyncio.get_running_loop()

    async def waiting() -> None:
        with Alarm(loop.time() + 5):
            await asyncio.sleep(100)

    task = loop.create_task(waiting())
    loop.call_later(5, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_error_passes_through() -> None:
    with pytest.raises(KeyError), Alarm(asyncio.get_running_loop().time() + 5):
        raise KeyError


async def rings_at(seconds: float, alarms: Alarms) -> float:
    """Seconds until it did."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError), Alarm(began + seconds, alarms):
        await asyncio.sleep(10_000)
    return loop.time() - began


async def test_those_that_share_timers_ring_at_their_own_instants() -> None:
    alarms, due = Alarms(), (0.2, 0.9, 1.0, 1.3, 7.25, 7.5, 600.125)
    rang = await asyncio.gather(*[rings_at(seconds, alarms) for seconds in due])
    assert rang == pytest.approx(due)
    assert len(alarms) == 0


async def test_far_alarms_of_one_second_cost_one_timer_and_leave_none() -> None:
    loop, alarms = asyncio.get_running_loop(), Alarms()
    assert isinstance(loop, VirtualLoop)
    second = int(loop.time()) + 60
    before = timers(loop)
    for _ in range(3):
        with Alarm(second + 0.1, alarms), Alarm(second + 0.5, alarms), Alarm(second + 0.9, alarms):
            assert len(alarms) == 1 and timers(loop) == before + 1
        assert len(alarms) == 0 and timers(loop) == before


async def test_what_ends_after_its_second_has_come_near_is_left_alone() -> None:
    loop, alarms = asyncio.get_running_loop(), Alarms()
    with Alarm(int(loop.time()) + 10.5, alarms):
        await asyncio.sleep(10.2)
    await asyncio.sleep(10)
    assert len(alarms) == 0


def timers(loop: VirtualLoop) -> int:
    """That may still ring."""
    return sum(not handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]  # asyncio's own list
