"""The baselines do what their names say: a gate is praised against them, so they must be no straw men."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from loadtests.tail.baselines import (
    BASELINES,
    Cooldowns,
    FixedHedge,
    HindsightHedge,
    LeastRequests,
    LowestLatency,
    RetryOnly,
)
from loadtests.tail.play import play
from loadtests.tail.upstreams import Draw, Drawn, Failed, Request
from tests.sim.virtual import run

GOOD = Draw(0.2)
BAD = Draw(0.05, 500)
NEVER = Draw(1e6)


def world(*draws: Draw) -> Drawn:
    return Drawn([lambda rng, request, now, draw=draw: draw for draw in draws], seed=1)  # type: ignore[misc]


async def asked(side: RetryOnly, count: int = 1, gap_s: float = 1.0) -> list[float]:
    found = []
    for number in range(count):
        found.append(await side.ask(Request(number, 0.0)))
        await asyncio.sleep(gap_s)
    return found


@pytest.mark.parametrize("side", BASELINES)
def test_each_goes_elsewhere_after_a_failure_or_a_timeout_and_gives_up_after_three(side: type[RetryOnly]) -> None:
    async def main() -> None:
        for bad in (BAD, NEVER):
            upstreams = world(bad, GOOD)
            for took in await asked(side(upstreams, 1, timeout_s=5.0), 20, 100.0):
                assert took == pytest.approx(0.2) or took == pytest.approx(0.2 + min(bad.seconds, 5.0))
        upstreams = world(BAD, BAD)
        with pytest.raises(Failed):
            await side(upstreams, 1, timeout_s=5.0).ask(Request(0, 0.0))
        assert len(upstreams.asked) == 3

    run(main())


def test_three_failures_within_a_minute_are_half_a_minute_of_quiet() -> None:
    async def main() -> None:
        upstreams = world(BAD, GOOD)
        await asked(Cooldowns(upstreams, 1, timeout_s=5.0), 60)
        bad = [at for at, target in upstreams.asked if target == 0]
        assert bad[3] - bad[2] >= 30
        assert len(bad) < 12

    run(main())


def test_what_was_slow_once_is_never_asked_again() -> None:
    async def main() -> None:
        upstreams = world(BAD, GOOD)
        await asked(LowestLatency(upstreams, 1, timeout_s=5.0), 60)
        assert [target for _, target in upstreams.asked].count(0) == 1

    run(main())


def test_the_idler_one_is_asked() -> None:
    async def main() -> None:
        upstreams = world(Draw(10.0), GOOD)
        side = LeastRequests(upstreams, 1, timeout_s=50.0)
        loop = asyncio.get_running_loop()
        tasks = []
        for number in range(20):
            tasks.append(loop.create_task(side.ask(Request(number, 0.0))))
            await asyncio.sleep(0.3)
        await asyncio.gather(*tasks)
        assert [target for _, target in upstreams.asked].count(0) <= 2

    run(main())


@pytest.mark.parametrize(
    ("draws", "took", "calls"),
    [
        ((NEVER, NEVER), 10.0, 6),
        ((Draw(0.3), Draw(0.3)), 0.3, 1),
        ((Draw(1.0), Draw(1.0)), 1.0, 2),
    ],
)
def test_a_hedge_goes_out_when_its_time_has_come_and_the_first_wins(
    draws: tuple[Draw, Draw], took: float, calls: int
) -> None:
    async def main() -> None:
        upstreams = world(*draws)
        side = FixedHedge(upstreams, 1, timeout_s=5.0, hedge_s=0.4)
        began = asyncio.get_running_loop().time()
        try:
            assert await side.ask(Request(0, 0.0)) == pytest.approx(took)
        except Failed:
            assert asyncio.get_running_loop().time() - began >= took
        assert len(upstreams.asked) == calls

    run(main())


def test_a_loser_is_stopped() -> None:
    async def main() -> None:
        upstreams = world(NEVER, GOOD)
        side = FixedHedge(upstreams, 2, timeout_s=1e9, hedge_s=0.4)
        assert all(took == pytest.approx(0.2) or took == pytest.approx(0.6) for took in await asked(side, 10))
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_arrivals_do_not_wait_for_answers_and_who_leaves_counts_as_failed() -> None:
    made: Callable[[Drawn], RetryOnly] = lambda upstreams: RetryOnly(upstreams, 1, timeout_s=100.0)  # noqa: E731

    async def main() -> None:
        requests = [Request(number, float(number), usual_s=2.0) for number in range(5)]
        played = await play(requests, world(Draw(10.0)), made, patience_s=20.0)  # type: ignore[arg-type]
        assert [at for at, _ in played.asked] == pytest.approx([0, 1, 2, 3, 4])
        assert played.took == pytest.approx([5.0] * 5)
        assert (played.success, played.calls, played.mean_s) == (1.0, 1.0, pytest.approx(10.0))
        hasty = await play(requests, world(Draw(10.0)), made, patience_s=3.0)  # type: ignore[arg-type]
        assert (hasty.success, len(hasty.failed_at), hasty.quantile(0.5)) == (0.0, 5, float("inf"))

    run(main())


def test_in_hindsight_a_hedge_comes_after_so_many_times_what_is_usual() -> None:
    async def main() -> None:
        for usual_s in (1.0, 3.0):
            upstreams = world(NEVER, GOOD)
            side = HindsightHedge(upstreams, 1, timeout_s=5.0, hedge_s=0.5)
            took = [await side.ask(Request(number, 0.0, usual_s=usual_s)) for number in range(20)]
            assert {round(each, 3) for each in took} == {0.2, round(0.5 * usual_s + 0.2, 3)}

    run(main())
