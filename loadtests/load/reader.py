"""Reads a streamed answer as it comes, so that a first token is timed when it is there and not when a buffer is full.

`iter_lines` of Locust's fast client waits for whole blocks, that of requests for 512 bytes; `raw.read1` hands out what
a chunk brought. Only events with content count as tokens; an answer is whole once it has a finish reason and its end
marker. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

READ_MAX = 65_536


class Raw(Protocol):
    def read1(self, amount: int) -> bytes: ...


@dataclass(slots=True)
class Told:
    """What one stream was. `first_s` counts from `began`."""

    first_s: float | None = None
    ended_s: float = 0.0
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    finished: bool = False
    marked: bool = False  # [DONE]
    error: str | None = None

    @property
    def whole(self) -> bool:
        return self.finished and self.marked and self.error is None


def read(
    raw: Raw, began: float, *, pause_s: float = 0.0, stop_after: int = 0, clock: Callable[[], float] = time.monotonic
) -> Told:
    """`pause_s`: of a reader that takes its time; `stop_after`: tokens, of one that leaves."""
    told, last, held = Told(), began, b""
    while True:
        data = raw.read1(READ_MAX)
        now = clock()
        if not data:
            break
        held += data
        while b"\n\n" in held:
            event, _, held = held.partition(b"\n\n")
            if _is_token(event, told):
                told.tokens += 1
                if told.first_s is None:
                    told.first_s = now - began
                else:
                    told.gaps.append(now - last)
                last = now
        if stop_after and told.tokens >= stop_after:
            break
        if pause_s:
            time.sleep(pause_s)
    told.ended_s = clock() - began
    return told


def _is_token(event: bytes, told: Told) -> bool:
    """Whether it brings text, or a call of a tool; notes an end and an error."""
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    if not lines:
        return False
    if lines[0] == b"[DONE]":
        told.marked = True
        return False
    try:
        payload = json.loads(b"\n".join(lines))
    except ValueError:
        told.error = "an event that is no JSON"
        return False
    if "error" in payload:
        told.error = str(payload["error"].get("code") if isinstance(payload["error"], dict) else payload["error"])
        return False
    choices = payload.get("choices") or []
    if not choices:
        return False
    told.finished = told.finished or choices[0].get("finish_reason") is not None
    delta = choices[0].get("delta") or {}
    return bool(delta.get("content") or delta.get("tool_calls") or delta.get("reasoning_content"))
