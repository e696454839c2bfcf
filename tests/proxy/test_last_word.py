"""What may go out before the call is on the disk, and what not."""

from __future__ import annotations

import pytest

from proxy.errors import ProxyError
from proxy.last_word import LastWord, unwritten
from tests.sim.client import Wire


class Reading:
    """As far as the last word looks at it."""

    def __init__(self) -> None:
        self.more, self.cut_short = True, False
        self.fault: ProxyError | None = None


class Bench:
    def __init__(self) -> None:
        self.reading, self.wire, self.settled = Reading(), Wire(), list[bytes]()
        self.word = LastWord(self.wire, self.reading, self._settle)  # type: ignore[arg-type]

    async def _settle(self, rest: bytes) -> None:
        assert self.wire.ended is None
        self.settled.append(rest)


async def test_only_the_last_write_waits_and_once() -> None:
    bench = Bench()
    await bench.word.start(200, [])
    await bench.word.write(b"one")
    assert bench.settled == []
    bench.reading.more = False
    await bench.word.write(b"last")
    await bench.word.end()
    assert (bench.settled, bench.wire.body, bench.wire.ended) == ([b"last"], b"onelast", "end")


async def test_a_stream_without_an_end_marker_waits_with_its_end() -> None:
    bench = Bench()
    await bench.word.start(200, [])
    await bench.word.write(b"one")
    await bench.word.end()
    assert bench.settled == [b""]


async def test_the_gates_own_end_of_a_cut_stream_waits() -> None:
    bench = Bench()
    await bench.word.start(200, [])
    bench.reading.cut_short = True
    await bench.word.write(b"cut")
    assert bench.settled == [b"cut"]


async def test_an_error_in_the_stream_is_no_end_and_does_not_wait() -> None:
    bench = Bench()
    await bench.word.start(200, [])
    bench.reading.more, bench.reading.fault = False, ProxyError("upstream_broken", "no")
    await bench.word.write(b"error")
    bench.word.abort()
    assert (bench.settled, bench.wire.ended) == ([], "abort")


@pytest.mark.parametrize("size", [0, 7])
async def test_a_whole_reply_waits(size: int) -> None:
    bench = Bench()
    await bench.word.whole(200, [], b"x" * size)
    await unwritten()
    assert (bench.settled, bench.wire.ended) == ([b"x" * size], "whole")
