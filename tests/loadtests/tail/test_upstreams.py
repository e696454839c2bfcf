"""The world deals every side the same cards, counts what it was asked, and keeps its queues in order."""

from __future__ import annotations

import asyncio
import statistics
from random import Random

import pytest

from loadtests.tail import laws
from loadtests.tail.upstreams import Draw, Drawn, Failed, Limited, Replicas, Request, Upstreams
from tests.sim.virtual import run


async def took(upstreams: Upstreams, target: int, request: Request) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await upstreams.send(target, request)
    return loop.time() - began


def test_the_nth_try_of_a_request_is_the_same_whoever_asks_and_in_whatever_order() -> None:
    law = laws.lognormal(0.2, 0.35)

    async def main(order: list[int]) -> dict[int, list[float]]:
        upstreams = Drawn([law, law], seed=4)
        return {n: [await took(upstreams, 0, Request(n, 0.0)) for _ in range(2)] for n in order}

    forwards, backwards = run(main([1, 2, 3])), run(main([3, 2, 1]))
    assert all(forwards[n] == pytest.approx(backwards[n]) for n in (1, 2, 3))
    assert len({round(time, 9) for times in forwards.values() for time in times}) == 6


def draws(law: laws.Law, *, now: float = 0.0, count: int = 20_000) -> list[Draw]:
    rng = Random(3)
    return [law(rng, Request(0, 0.0), now) for _ in range(count)]


def test_laws_are_what_they_are_called() -> None:
    normal = [draw.seconds for draw in draws(laws.lognormal(0.2, 0.35))]
    assert statistics.median(normal) == pytest.approx(0.2, rel=0.02)
    assert statistics.stdev(normal) / statistics.mean(normal) == pytest.approx(0.36, rel=0.05)
    base = laws.lognormal(1.0, 0.0)
    late = [draw.seconds for draw in draws(laws.stragglers(base, 0.03, 10.0))]
    assert sum(seconds > 5 for seconds in late) / len(late) == pytest.approx(0.03, rel=0.15)
    stalled = [draw.seconds for draw in draws(laws.stalls(base, 0.01, 30.0, 120.0))]
    assert all(seconds == 1 or 31 <= seconds <= 121 for seconds in stalled)
    sick = laws.sick(base, errors=0.3, hangs=0.02, heals_at=50.0)
    assert sum(draw.status == 500 for draw in draws(sick)) / 20_000 == pytest.approx(0.3, rel=0.05)
    assert sum(draw.seconds > 1e5 for draw in draws(sick)) / 20_000 == pytest.approx(0.02, rel=0.2)
    assert all(draw == Draw(1.0) for draw in draws(sick, now=50.0))
    gone = laws.outage(base, 10.0, 20.0)
    assert [gone(Random(1), Request(0, 0.0), now).status for now in (9.9, 10.0, 19.9, 20.0)] == [200, 503, 503, 200]


async def test_an_error_is_raised_and_every_try_is_counted() -> None:
    upstreams = Drawn([laws.outage(laws.lognormal(1, 0), 0, 100)], seed=1)
    with pytest.raises(Failed) as caught:
        await upstreams.send(0, Request(0, 0.0))
    assert (caught.value.status, len(upstreams.asked)) == (503, 1)


def test_places_are_taken_in_order_and_given_back_by_those_who_leave() -> None:
    async def main() -> list[float]:
        upstreams = Limited([laws.lognormal(1.0, 0.0)], 1, places=2)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(took(upstreams, 0, Request(n, 0.0))) for n in range(6)]
        await asyncio.sleep(0.5)
        tasks[0].cancel()  # it was being served
        tasks[2].cancel()  # it waited
        return [found for found in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(found, float)]

    assert run(main()) == pytest.approx([1.0, 1.5, 2.0, 2.5])


def test_a_replica_reads_one_prompt_at_a_time_and_remembers_it() -> None:
    long = Request(0, 0.0, tokens=16_000, blocks=tuple(range(32)), output=0)
    longer = Request(1, 0.0, tokens=16_512, blocks=tuple(range(33)), output=0)

    async def main() -> tuple[list[float], int, float]:
        upstreams = Replicas([1.0, 0.5])
        loop = asyncio.get_running_loop()
        both = [loop.create_task(took(upstreams, 0, request)) for request in (long, Request(2, 0.0, tokens=8_000))]
        times = await asyncio.gather(*both)
        answer = await upstreams.send(0, longer)
        slow = await took(upstreams, 1, long)
        return list(times), answer.cached, slow

    times, cached, slow = run(main())
    assert times == pytest.approx([2.0, 3.0], rel=0.03)
    assert cached == 32 * 512
    assert slow == pytest.approx(4.0, rel=0.03)


def test_answers_that_are_being_made_slow_a_replica_down_until_they_end_or_are_left() -> None:
    async def main() -> list[float]:
        upstreams = Replicas([1.0])
        answers = [await upstreams.send(0, Request(n, 0.0, tokens=8, output=100)) for n in range(64)]
        busy = await took(upstreams, 0, Request(64, 0.0, tokens=8_000))
        for answer in answers[:32]:
            answer.close()
        await asyncio.gather(*[answer.rest() for answer in answers[32:]])
        return [busy, await took(upstreams, 0, Request(65, 0.0, tokens=8_000))]

    busy, idle = run(main())
    assert busy == pytest.approx(1.5, rel=0.01)
    assert idle == pytest.approx(1 + 1 / 128, rel=0.01), "only the unread answer in between still counts"
