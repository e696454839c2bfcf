"""A stream's first token is timed when it comes, and an answer is whole only with its finish reason and its end."""

from __future__ import annotations

import pytest

from loadtests.load.reader import read

ROLE = b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n'
TOKEN = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


class Raw:
    """Hands out pieces, a second after each other."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.now = 100.0

    def read1(self, amount: int) -> bytes:
        self.now += 1.0
        return self.pieces.pop(0) if self.pieces else b""


def test_a_role_is_no_token() -> None:
    raw = Raw(ROLE, TOKEN, b": a comment\n\n", TOKEN, FINISH + USAGE + DONE)
    told = read(raw, 100.0, clock=lambda: raw.now)
    assert told.first_s == 2.0
    assert told.gaps == [2.0]
    assert (told.tokens, told.whole) == (2, True)


@pytest.mark.parametrize("at", range(1, len(ROLE + TOKEN + FINISH + DONE), 7))
def test_it_does_not_matter_where_the_bytes_are_cut(at: int) -> None:
    stream = ROLE + TOKEN + FINISH + DONE
    told = read(Raw(stream[:at], stream[at:]), 100.0)
    assert (told.tokens, told.whole) == (1, True)


@pytest.mark.parametrize(
    "pieces",
    [
        (TOKEN, DONE),
        (TOKEN, FINISH),
        (TOKEN, b'data: {"error":{"code":"upstream_broken"}}\n\n'),
        (TOKEN, b"data: {nonsense\n\n", FINISH, DONE),
    ],
    ids=["no finish reason", "no end", "an error", "no JSON"],
)
def test_what_is_not_whole(pieces: tuple[bytes, ...]) -> None:
    assert not read(Raw(*pieces), 100.0).whole


def test_one_who_leaves_reads_no_further() -> None:
    raw = Raw(TOKEN, TOKEN, TOKEN, FINISH, DONE)
    assert read(raw, 100.0, stop_after=2).tokens == 2
    assert raw.pieces
