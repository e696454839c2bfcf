"""Virtual time: hours pass at once, threads are waited for, and what nobody will do is told."""

from __future__ import annotations

import asyncio
import time

import pytest

from proxy.simulate.virtual import VirtualClock, run


def test_an_hour_passes_at_once_and_the_clock_goes_with_it() -> None:
    async def wait() -> tuple[float, float, str]:
        clock = VirtualClock(1, 1_000.0)
        await asyncio.sleep(3_600)
        return clock.now(), clock.wall(), clock.id()

    began = time.monotonic()
    now, wall, id = run(wait())
    assert time.monotonic() - began < 60
    assert (round(now, 6), round(wall, 6)) == (3_600.0, 4_600.0)
    assert id == f"{1:032x}"


def test_time_stands_still_while_a_thread_is_at_work() -> None:
    async def work() -> float:
        clock = VirtualClock(1, 0.0)
        sleeper = asyncio.get_running_loop().call_later(60, lambda: None)
        await asyncio.get_running_loop().run_in_executor(None, lambda: sum(range(1_000_000)))
        sleeper.cancel()
        return clock.now()

    assert run(work()) == 0.0


def test_a_wait_that_can_never_end_is_told() -> None:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="nothing is scheduled"):
        run(wait())
