from __future__ import annotations

import asyncio

from proxy.providers.line import Line
from proxy.providers.pool import Pool

HERE, THERE = "http://here", "http://there"
KEPT_S = 60.0


class Wire(asyncio.Transport):
    """A connection to nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Goes nowhere."""

    def get_write_buffer_size(self) -> int:
        return 0


def connected(pool: Pool, origin: str = HERE) -> Line:
    line = Line(pool, origin, asyncio.get_running_loop())
    line.connection_made(Wire())
    return line


def used(pool: Pool, origin: str = HERE) -> Line:
    """A line that has just come back from an exchange."""
    line = connected(pool, origin)
    line.ask(b"", b"")
    line.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    line.release()
    return line


def aborted(line: Line) -> bool:
    assert isinstance(line._transport, Wire)
    return line._transport.aborted


def get(pool: Pool, origin: str = HERE) -> Line | None:
    return pool.get(origin)


async def test_the_one_that_rested_last_goes_out_first_and_only_to_its_origin() -> None:
    pool = Pool(KEPT_S)
    first, second, third = used(pool), used(pool, THERE), used(pool)
    assert (get(pool), get(pool), get(pool), get(pool, THERE)) == (third, first, None, second)
    assert len(pool) == 3 and repr(pool) == "Pool(3 open, 0 idle)"


async def test_what_has_died_is_passed_over() -> None:
    pool = Pool(KEPT_S)
    alive, dead = used(pool), used(pool)
    dead.connection_lost(None)
    assert get(pool) is alive and len(pool) == 1


async def test_what_is_too_old_does_not_go_out() -> None:
    pool = Pool(KEPT_S)
    old, young = used(pool), used(pool)
    for line in (old, young):
        line.idle_since -= KEPT_S  # as if the timer were late
    assert get(pool) is None
    assert aborted(old) and aborted(young)


async def test_what_nobody_fetches_is_closed_when_its_time_is_over() -> None:
    pool = Pool(KEPT_S)
    old = used(pool)
    await asyncio.sleep(KEPT_S / 2)
    young, other = used(pool), used(pool, THERE)
    await asyncio.sleep(KEPT_S / 2 + 1)
    assert (aborted(old), aborted(young), aborted(other)) == (True, False, False)
    assert repr(pool) == "Pool(3 open, 2 idle)"
    await asyncio.sleep(KEPT_S / 2)
    assert aborted(young) and aborted(other) and repr(pool) == "Pool(3 open, 0 idle)"
    last = used(pool)
    await asyncio.sleep(KEPT_S + 1)
    assert aborted(last)


async def test_no_instant_lasts_for_ever() -> None:
    """In floating point `at + KEPT_S - KEPT_S` is now and then a little less than `at`."""
    pool = Pool(KEPT_S)
    for number in range(100):
        await asyncio.sleep(0.1 + number / 7)
        line = used(pool)
        await asyncio.sleep(KEPT_S + 0.001)
        assert aborted(line)


async def test_what_is_out_has_no_age() -> None:
    pool = Pool(KEPT_S)
    used(pool)
    line = get(pool)
    assert line is not None
    line.ask(b"", b"")
    await asyncio.sleep(3 * KEPT_S)
    assert line.alive and not aborted(line)


async def test_an_origin_can_be_forgotten() -> None:
    pool = Pool(KEPT_S)
    here, there = used(pool), used(pool, THERE)
    pool.forget(HERE)
    pool.forget("http://nowhere")
    assert aborted(here) and get(pool) is None and get(pool, THERE) is there


async def test_closing_ends_all_and_keeps_nothing_that_comes_later() -> None:
    pool = Pool(KEPT_S)
    idle, busy = used(pool), connected(pool)
    busy.ask(b"", b"")
    pool.close()
    late = connected(pool)
    assert aborted(idle) and aborted(busy) and aborted(late) and get(pool) is None
    for line in (idle, busy, late):
        line.connection_lost(None)
    assert len(pool) == 0
