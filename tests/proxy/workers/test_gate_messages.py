"""Questions and answers about gates survive the way to another process."""

from __future__ import annotations

import pytest
from msgspec import Struct, msgpack

from policies.gate_line import Ask
from proxy.workers.gate_messages import Entering, KeptOut, LetIn, Over, Unwanted
from proxy.workers.messages import Downward, Upward

ASK = Ask("key:k\0", "agent", 1, 5_000, steps=3, above=("a", "b"), named=False, free=True)


@pytest.mark.parametrize("message", [Entering(1, "m", ASK, 3.5), Unwanted(2), Over(3, 9, None), Over(4, 9, 4, True)])
def test_a_worker_is_understood(message: Struct) -> None:
    assert msgpack.decode(msgpack.encode(message), type=Upward) == message


@pytest.mark.parametrize("message", [LetIn(1, "it waited"), KeptOut(2, "run_gate_full", "too many", 1.0)])
def test_the_supervisor_is_understood(message: Struct) -> None:
    assert msgpack.decode(msgpack.encode(message), type=Downward) == message


def test_a_refusal_becomes_the_error_that_it_was() -> None:
    error = KeptOut(2, "run_gate_full", "too many", 4.0).error()
    assert (error.code, error.status, error.message, error.retry_after_s) == ("run_gate_full", 429, "too many", 4.0)
