"""Lines of several processes in one pipe stay whole."""

from __future__ import annotations

import os
from select import PIPE_BUF

import pytest

from proxy.workers.lines import WholeLines


@pytest.mark.parametrize("lengths", [(10,), (100,) * 200, (PIPE_BUF - 1,), (PIPE_BUF * 2, 5), (5, PIPE_BUF * 2, 5)])
def test_every_write_ends_with_a_line(lengths: tuple[int, ...]) -> None:
    reading, writing = os.pipe()
    data = b"".join(b"x" * length + b"\n" for length in lengths)
    sink, rest, got = WholeLines(writing), memoryview(data), b""
    while rest:
        written = sink.write(rest)
        piece = os.read(reading, 1 << 20)
        assert len(piece) == written
        assert piece.endswith(b"\n")
        assert written <= PIPE_BUF or piece.count(b"\n") == 1
        got, rest = got + piece, rest[written:]
    assert got == data
    os.close(reading)
    os.close(writing)
