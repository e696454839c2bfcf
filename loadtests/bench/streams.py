"""The streaming client: many streams at once, every chunk checked for its place and its age.

A chunk says whose it is, the how-manieth, and when the upstream wrote it. Missing, doubled, swapped or misplaced
chunks are lost; a chunk that is older than `--late-ms` when it is here is late. The CPU of the system under test is
read here as well, at the same two moments as the count of chunks: between them all streams run, none begins or ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from .figures import percentile
from .processes import cpu_s, resident_mb
from .wire import Reply, Request

CHUNK = re.compile(rb'"content":" (\d+)/(\d+)@(\d+)"')
GOLDEN = 0.618034  # spreads the streams over the interval, whatever their number
TAIL_S = 0.5  # of streaming after the window
END_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    streams: int
    interval_s: float
    ramp_s: float
    settle_s: float
    window_s: float
    late_us: int

    @property
    def chunks(self) -> int:
        """Of each stream: enough that the first to start still runs when the window ends."""
        return round((self.ramp_s + self.settle_s + self.window_s + TAIL_S) / self.interval_s)

    def starts_at(self, number: int) -> float:
        return self.ramp_s * number / self.streams + (number * GOLDEN % 1) * self.interval_s


@dataclass(slots=True)
class Tally:
    chunks: int = 0  # in their place
    misplaced: int = 0  # doubled, swapped, or after a gap
    late: int = 0
    ended: int = 0  # streams with all their chunks, [DONE] and a whole reply
    running: int = 0
    sample: str = ""
    ages_us: list[int] = field(default_factory=list)
    all_ended: asyncio.Event = field(default_factory=asyncio.Event)


class Stream(asyncio.Protocol):
    def __init__(self, request: Request, number: int, *, plan: Plan, tally: Tally) -> None:
        self._request = request
        self._number = number
        self._plan = plan
        self._tally = tally
        self._transport: asyncio.Transport
        self._reply = Reply()
        self._text = b""  # an event of which the end is missing
        self._next = 0
        self._finished = False
        self._open = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP only
        self._transport = transport

    def begin(self) -> None:
        self._transport.write(self._request.numbered(self._number))

    def data_received(self, data: bytes) -> None:
        now = now_us()
        text = self._text + self._reply.feed(data)
        if self._reply.status != 200:
            self._fail(f"status {self._reply.status}: {text[:200]!r}")
            return
        whole = text.rfind(b"\n\n") + 2
        for match in CHUNK.finditer(text, 0, whole):
            self._take(int(match[1]), int(match[2]), now - int(match[3]))
        self._finished = self._finished or b"data: [DONE]" in text
        self._text = text[whole:]
        if self._reply.done:
            self._end()

    def _take(self, number: int, place: int, age_us: int) -> None:
        tally = self._tally
        tally.ages_us.append(age_us)
        if age_us > self._plan.late_us:
            tally.late += 1
        if number == self._number and place == self._next:
            tally.chunks += 1
        else:
            tally.misplaced += 1
            tally.sample = f"chunk {number}/{place} instead of {self._number}/{self._next}"
        self._next = place + 1

    def _end(self) -> None:
        if self._next == self._plan.chunks and self._finished:
            self._tally.ended += 1
            self._close()
        else:
            self._fail(f"ended after {self._next} of {self._plan.chunks} chunks, [DONE] {self._finished}")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._open:
            self._fail(f"connection lost after {self._next} chunks: {exc!r}")

    def _fail(self, problem: str) -> None:
        self._tally.sample = problem
        self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._tally.running -= 1
            self._transport.close()
            if not self._tally.running:
                self._tally.all_ended.set()


def now_us() -> int:
    """On the clock that the upstream stamps its chunks with."""
    return time.monotonic_ns() // 1000


async def run(given: argparse.Namespace) -> None:
    plan = Plan(
        given.streams,
        given.interval_ms / 1000,
        given.ramp,
        given.settle,
        given.window,
        round(given.late_ms * 1000),
    )
    body = given.body.read_bytes().replace(b"@CHUNKS@", b"%d" % plan.chunks)
    tally = Tally(running=plan.streams)
    await _start(Request(body, given.key), given.port, plan=plan, tally=tally)
    await asyncio.sleep(plan.ramp_s + plan.settle_s)
    window = await _window(plan, tally, given.pids)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(tally.all_ended.wait(), plan.ramp_s + TAIL_S + END_S_MAX)
    print(json.dumps(_summary(plan, tally) | window), flush=True)


async def _start(request: Request, port: int, *, plan: Plan, tally: Tally) -> None:
    """All connections first, then timers: on a busy machine the streams still begin when they should."""
    loop = asyncio.get_running_loop()
    streams = [Stream(request, number, plan=plan, tally=tally) for number in range(plan.streams)]
    for stream in streams:
        await loop.create_connection(lambda stream=stream: stream, "127.0.0.1", port)  # type: ignore[misc]
    for number, stream in enumerate(streams):
        loop.call_later(plan.starts_at(number), stream.begin)


async def _window(plan: Plan, tally: Tally, pids: Sequence[int]) -> dict[str, float | str]:
    """What the system under test used while so many chunks came, and the memory it had with every stream open."""
    chunks, used, began_at = tally.chunks, cpu_s(pids), time.monotonic()
    await asyncio.sleep(plan.window_s)
    return {
        "window_chunks": tally.chunks - chunks,
        "window_cpu_s": cpu_s(pids) - used,
        "window_s": time.monotonic() - began_at,
        "resident_mb": resident_mb(pids),
    }


def _summary(plan: Plan, tally: Tally) -> dict[str, float | str]:
    return {
        "chunks": tally.chunks,
        "lost": plan.streams * plan.chunks - tally.chunks,
        "misplaced": tally.misplaced,
        "late": tally.late,
        "unended": plan.streams - tally.ended,
        "sample": tally.sample,
        "age_p50_us": percentile(tally.ages_us, 0.50),
        "age_p99_us": percentile(tally.ages_us, 0.99),
        "age_max_us": max(tally.ages_us, default=0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Reads many streams at once and checks every chunk.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--body", type=Path, required=True, help="file with @NUMBER@ and @CHUNKS@ in it")
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--interval-ms", type=float, default=20.0, help="the upstream's own")
    parser.add_argument("--ramp", type=float, default=1.0, help="seconds over which the streams begin")
    parser.add_argument("--settle", type=float, default=0.5, help="seconds before the window")
    parser.add_argument("--window", type=float, default=3.0, help="seconds in which chunks are counted for the CPU")
    parser.add_argument("--pids", type=int, nargs="*", default=[], help="the system under test")
    parser.add_argument("--late-ms", type=float, default=100.0)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
