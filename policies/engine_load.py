"""What an engine of one's own says of itself: how many calls it makes answers for, and how many wait there.

Read from what vLLM and SGLang show to Prometheus and from llama.cpp's list of slots. The gate counts its own calls and
needs none of this; an engine that others ask as well is busier than that, and only it knows. What does not say both
numbers says nothing.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import DecodeError, Struct, json

RUNNING: Final = ("vllm:num_requests_running", "sglang:num_running_reqs")
WAITING: Final = ("vllm:num_requests_waiting", "sglang:num_queue_reqs")

_SAMPLE = re.compile(rb"^((?:vllm|sglang):[a-z_]+)(?:\{[^\n]*\})? +([0-9.eE+]+)(?: [0-9]+)?\r?$", re.M)


class EngineLoad(Struct, frozen=True):
    """Calls, whoever sent them."""

    running: int
    waiting: int


class _Slot(Struct):
    is_processing: bool


_SLOTS = json.Decoder(list[_Slot])


def read(body: bytes) -> EngineLoad | None:
    """None: it is neither."""
    if body[:1] == b"[":
        return _of_slots(body)
    found: dict[str, float] = {}
    for name, value in _SAMPLE.findall(body):
        try:
            number = float(value)
        except ValueError:
            return None
        if number < 1e6:
            found[name.decode()] = found.get(name.decode(), 0.0) + number  # one series for each model it serves
    running = next((found[name] for name in RUNNING if name in found), None)
    waiting = next((found[name] for name in WAITING if name in found), None)
    return None if running is None or waiting is None else EngineLoad(round(running), round(waiting))


def _of_slots(body: bytes) -> EngineLoad | None:
    """What waits for a slot is not listed."""
    try:
        slots = _SLOTS.decode(body)
    except DecodeError:
        return None
    return EngineLoad(sum(slot.is_processing for slot in slots), 0)
