from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from proxy.clock import SystemClock, loop_time
from proxy.dialects.base import Passage
from proxy.dialects.openai_chat import OpenAI
from proxy.errors import ProxyError
from proxy.execution.flight import KEPT_MAX, Flight
from proxy.execution.flights import Flights
from proxy.execution.following import Following, join
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.types import Call, Target
from tests.build import call, target
from tests.money import WatchedBudgets
from tests.proxy.execution.test_flight import Client

CLOCK = SystemClock(seed=1, now=loop_time)


class Told:
    """What a call says of its answer."""

    passage: Passage | None = None
    content_type = "text/plain"
    headers: tuple[tuple[str, str], ...] = (("x-request-id", "u1"),)

    def __init__(self, first: bytes = b"") -> None:
        self.first = first
        self.target: Target = target()
        self.clamped_to: int | None = 7


def record(flights: Flights, *, allowed_s: float = 10.0) -> Record:
    asked = _call(allowed_s)
    return Record(asked, Purse(WatchedBudgets(CLOCK), asked.id, (), 60.0))


def _call(allowed_s: float) -> Call:
    return structs.replace(call(), deadline=CLOCK.now() + allowed_s, client_retry=1)


def begun(flights: Flights) -> Flight:
    flight = flights.begin(_call(10.0), Client())
    flight.take_off((Told(), Told()), None, 1 << 30)
    return flight


async def read_all(flights: Flights, own: Record) -> None:
    following = await join(flights, own, CLOCK)
    assert following is not None
    while await following.read() is not None:
        pass


async def test_it_reads_what_was_written_then_what_is_and_then_the_end() -> None:
    flights = Flights()
    flight = begun(flights)
    flight.keep(b"a")
    flight.keep(b"b")
    following = await join(flights, record(flights), CLOCK)
    assert following is not None
    assert (following.first, following.streams, following.more) == (b"ab", True, True)
    assert (following.clamped_to, following.content_type) == (7, "text/plain")
    reading = asyncio.get_running_loop().create_task(following.read())
    await asyncio.sleep(1)
    flight.keep(b"c")
    flight.keep(b"d")
    assert await reading == b"cd"
    flight.end()
    assert not following.more
    assert await following.read() is None


async def test_a_whole_reply_is_all_there_at_once() -> None:
    flights = Flights()
    flight = flights.begin(_call(10.0), Client())
    waiting = asyncio.get_running_loop().create_task(join(flights, record(flights), CLOCK))
    await asyncio.sleep(1)
    flight.land((Told(), Told(b"all")), None)
    following = await waiting
    assert following is not None
    assert (following.first, following.streams) == (b"all", False)


async def test_its_record_says_whom_it_joined_and_counts_the_wait_as_the_upstreams() -> None:
    flights = Flights()
    flight = flights.begin(_call(10.0), Client())
    own = record(flights)
    waiting = asyncio.get_running_loop().create_task(join(flights, own, CLOCK))
    await asyncio.sleep(3)
    flight.land((Told(), Told(b"all")), None)
    following = await waiting
    assert following is not None
    assert own.served_by == "join"
    assert own.open == [following]
    await following.end("complete")
    await following.end("complete")
    assert (own.open, own.attempts, own.upstream_s) == ([], [], pytest.approx(3))
    assert own.decisions is not None
    assert flight.call.id in own.decisions[0].said


@pytest.mark.parametrize("written", [b"", b"a"], ids=["before the first byte", "later"])
async def test_the_error_of_the_call_is_its_own(written: bytes) -> None:
    flights = Flights()
    flight = begun(flights)
    if written:
        flight.keep(written)
    error, own = ProxyError("upstream_error", "x"), record(flights)
    asyncio.get_running_loop().call_later(1, flight.fail, error)
    with pytest.raises(ProxyError) as caught:
        await read_all(flights, own)
    assert caught.value is error
    assert len(own.open) == len(written), "what has begun is ended by whoever reads it"


async def test_an_error_that_a_thousand_share_does_not_grow() -> None:
    flights, depths = Flights(), []
    flight = begun(flights)
    followings = [Following(flight, record(flights), CLOCK) for _ in range(1_000)]
    flight.fail(ProxyError("upstream_error", "x"))
    for following in followings:
        with pytest.raises(ProxyError) as caught:
            await following.read()
        depths.append(len(list(caught.traceback)))
    assert depths[-1] == depths[0]


async def test_the_deadline_of_the_call_is_not_that_of_who_has_joined() -> None:
    flights = Flights()
    first, second = begun(flights), begun(flights)
    loop = asyncio.get_running_loop()
    loop.call_later(1, second.fail, ProxyError("deadline_exceeded", "x"))
    loop.call_later(2, first.fail, ProxyError("deadline_exceeded", "x"))
    own = record(flights)
    assert await join(flights, own, CLOCK) is None, "it tries the one, then the other, and goes on alone"
    assert (own.open, own.served_by) == ([], "none")


async def test_its_own_deadline_ends_its_wait_and_nobody_elses() -> None:
    flights = Flights()
    flight = begun(flights)
    own, began = record(flights, allowed_s=2.0), CLOCK.now()
    with pytest.raises(ProxyError, match="deadline") as caught:
        await join(flights, own, CLOCK)
    assert caught.value.code == "deadline_exceeded"
    assert CLOCK.now() - began == pytest.approx(2)
    assert own.open == []
    assert not flight.closed


async def test_a_call_that_ends_without_a_word_leaves_nobody_waiting() -> None:
    flights = Flights()
    flight = begun(flights)
    early = asyncio.get_running_loop().create_task(join(flights, record(flights), CLOCK))
    await asyncio.sleep(1)
    flight.keep(b"a")
    late = await join(flights, record(flights), CLOCK)
    assert late is not None
    flight.close()
    assert await early is not None, "it has had its first byte"
    with pytest.raises(ProxyError) as caught:
        await late.read()
    assert caught.value.code == "upstream_broken"


async def test_a_stream_whose_end_marker_is_there_is_whole_although_its_own_client_has_not_taken_it() -> None:
    flights = Flights()
    flight = flights.begin(_call(10.0), Client())
    told = Told()
    told.passage = OpenAI().passage(_call(10.0), target())
    flight.take_off((told, told), None, 1 << 30)
    flight.keep(told.passage.feed(b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'))
    late = await join(flights, record(flights), CLOCK)
    assert late is not None
    flight.keep(told.passage.feed(b"data: [DONE]\n\n"))
    flight.close()
    assert b"DONE" in (await late.read() or b"")
    assert await late.read() is None


async def test_who_falls_behind_by_more_than_is_kept_is_cut_off() -> None:
    flights = Flights()
    flight = begun(flights)
    flight.keep(b"a")
    slow, quick = [await join(flights, record(flights), CLOCK) for _ in range(2)]
    assert slow is not None
    assert quick is not None
    for _ in range(4):
        flight.keep(b"x" * (KEPT_MAX // 2))
        assert await quick.read()
    with pytest.raises(ConnectionResetError):
        await slow.read()
