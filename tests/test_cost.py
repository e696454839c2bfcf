"""What a call costs, counted and not timed: calls of our own functions, and our frames below the upstream send.

Upstream and client answer at once, so a count is the same on every machine; a resumed coroutine counts as a call. The
ceilings stand a little above today's figures. Who raises one says why.
"""

from __future__ import annotations

import ast
import gc
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from types import FrameType

import pytest
from multidict import CIMultiDict

from policies.limits import LimitsByName, Rulebook
from proxy.execution.flight import Flight
from proxy.providers.base import UpstreamRequest, UpstreamResponse, unnoticed
from proxy.providers.transport import HttpTransport
from tests.flow.world import DONE, FINISH, REPLY, ROLE, USAGE, World, head, plain, read_response, streaming, token
from tests.money import WIDE, WatchedBudgets
from tests.sim.gate import PLAIN, STREAM, SmallGate
from tests.sim.virtual import SeededClock, run

ROOT = Path(__file__).parents[1]
OURS = tuple(str(ROOT / package) + "/" for package in ("proxy", "policies", "pricing"))
CHUNKS = (100, 1_100)

NO_LIMITS = LimitsByName()
# Raised from 130, 208 and 205 by the choice of a target and its breaker, the race's legs and fallbacks, admission,
# joins, tiers of service, caches and, for streams, the guard against stalls: about 8 us of a call.
PLAIN_CALLS_MAX = 172
BUDGET_CALLS_MAX = 216
STREAM_CALLS_MAX = 260
CHUNK_CALLS_MAX = 7  # a look at the hold each 64 KiB
FRAMES_MAX = 6
SURFACE_CALLS_MAX = 48
ARGUMENTS_MAX = 30  # of a call, where each that is named counts twice: CPython packs more of them into a dictionary
RARE = frozenset(
    {"proxy/app.py", "proxy/data_plane.py", "proxy/demo/result.py", "proxy/money/outlook.py"}
    | {"proxy/simulate/figures.py"}  # not on a call's way
)


class Ready:
    """An upstream whose whole reply is there before anybody asks."""

    unread = 0

    def __init__(self, pieces: list[bytes], content_type: str) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = CIMultiDict({"Content-Type": content_type, "x-request-id": "r"})
        self._pieces = [*pieces, b""][::-1]

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> UpstreamResponse:
        sent()
        return self

    async def read(self) -> bytes:
        return self._pieces.pop()

    def close(self) -> None:
        """Holds nothing."""


class Again:
    """An upstream that is as good as new for each request."""

    def __init__(self, make: Callable[[], Ready]) -> None:
        self._make = make

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> UpstreamResponse:
        return await self._make().send(request, sent)

    async def close(self) -> None:
        """Holds nothing."""


class Sink:
    """A client that takes everything at once."""

    def __init__(self) -> None:
        self.size = 0

    async def whole(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.size += len(body)

    async def start(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.size = 0

    async def write(self, data: bytes) -> None:
        self.size += len(data)

    async def end(self) -> None:
        """Nothing to close."""

    def heartbeat(self) -> None:
        """Nothing ever takes that long."""

    def abort(self) -> None:
        raise AssertionError("aborted")

    @property
    def left(self) -> bool:
        return False

    def share(self, flight: Flight | None) -> None:
        """Nobody joins."""

    def stay(self) -> None:
        raise AssertionError("joined")

    def go(self) -> None:
        raise AssertionError("joined")


def calls_of(raw: bytes, make: Callable[[], Ready], rules: Rulebook = WIDE) -> Counter[str]:
    """The calls of our functions for one request, by file and function, once everything is warm."""
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            file = frame.f_code.co_filename.removeprefix(str(ROOT) + "/")
            counted[f"{file} {frame.f_code.co_qualname}"] += 1

    async def serve(gate: SmallGate, profiled: bool) -> None:
        call, sink = gate.call(raw), Sink()
        serving: Coroutine[object, None, None] = gate.pipeline.serve(call, sink, gate.snapshot)
        if profiled:
            sys.setprofile(count)
        try:
            await serving
        finally:
            sys.setprofile(None)
        assert sink.size
        assert gate.outcomes.pop().status == 200

    async def main() -> None:
        gate = SmallGate(transport=Again(make), store=WatchedBudgets(SeededClock(1), rules))
        for profiled in (False, False, True):
            await serve(gate, profiled)

    run(main())
    return counted


def plain_reply() -> Ready:
    return Ready([REPLY], "application/json")


def stream_of(chunks: int) -> Ready:
    pieces = [ROLE, *[token(f"word {number}") for number in range(chunks)], FINISH, USAGE, DONE]
    return Ready(pieces, "text/event-stream")


def shown(counted: Counter[str]) -> str:
    return "\n".join(f"{count:6} {name}" for name, count in counted.most_common(40))


def test_a_plain_call_costs_no_more_calls_of_ours_than_it_has_to(
    record_property: Callable[[str, object], None],
) -> None:
    counted = calls_of(PLAIN, plain_reply, NO_LIMITS)
    print("calls of ours for a plain request:", counted.total())
    record_property("plain_calls", counted.total())
    assert counted.total() <= PLAIN_CALLS_MAX, shown(counted)


def test_budgets_cost_what_they_have_to(record_property: Callable[[str, object], None]) -> None:
    """Two accounts with two limits each stand over the call."""
    counted = calls_of(PLAIN, plain_reply)
    print("calls of ours for a plain request under budgets:", counted.total())
    record_property("budget_calls", counted.total())
    assert counted.total() <= BUDGET_CALLS_MAX, shown(counted)


def test_a_streamed_chunk_costs_a_few_calls(record_property: Callable[[str, object], None]) -> None:
    long = STREAM.replace(b'"max_tokens":100', b'"max_tokens":2000')  # an upstream that says more is cut
    few, many = (calls_of(long, lambda count=count: stream_of(count), NO_LIMITS) for count in CHUNKS)
    each = (many.total() - few.total()) / (CHUNKS[1] - CHUNKS[0])
    print("calls of ours for a stream without its chunks:", round(few.total() - CHUNKS[0] * each))
    print("calls of ours for a streamed chunk:", each)
    record_property("chunk_calls", each)
    assert each <= CHUNK_CALLS_MAX, shown(many)
    assert few.total() - CHUNKS[0] * each <= STREAM_CALLS_MAX, shown(few)


@pytest.mark.parametrize("raw", [PLAIN, STREAM], ids=["plain", "stream"])
def test_a_call_leaves_nothing_to_the_collector(raw: bytes) -> None:
    """What knows each other in a circle stays until the collector has looked at everything that was made since."""

    async def left_behind() -> int:
        gate = SmallGate(transport=Again(plain_reply if raw is PLAIN else partial(stream_of, 10)))
        for calls in (5, 50):
            gc.collect()
            for _ in range(calls):
                await gate.pipeline.serve(gate.call(raw), Sink(), gate.snapshot)
                assert gate.outcomes.pop().status == 200
        return gc.collect()

    gc.disable()
    try:
        assert run(left_behind()) < 50
    finally:
        gc.enable()


def test_a_body_is_never_parsed_a_second_time() -> None:
    """A bigger conversation costs more bytes, not more calls. Both are long enough for a provider's prompt cache."""
    long, longer = (PLAIN.replace(b"a question", b"a much longer question " * times) for times in (1_000, 3_000))
    assert calls_of(longer, plain_reply).total() == calls_of(long, plain_reply).total()


def test_no_call_names_so_many_arguments_that_a_dictionary_is_made_of_them() -> None:
    """That makes a value of sixteen fields three times as dear. The first of them are given by position instead."""
    files = [file for package in OURS for file in Path(package).rglob("*.py")]
    found = [
        f"{name}:{node.lineno}"
        for file in files
        if (name := file.relative_to(ROOT).as_posix()) not in RARE
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Call) and node.keywords and len(node.args) + 2 * len(node.keywords) > ARGUMENTS_MAX
    ]
    assert not found


class Watched(HttpTransport):
    """Notes which of our frames stand below each send."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[list[str]] = []

    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> UpstreamResponse:
        below, frame = [], sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename.startswith(OURS):
                below.append(frame.f_code.co_qualname)
            frame = frame.f_back  # type: ignore[assignment]  # None at the bottom
        self.frames.append(below)
        return await super().send(request, sent)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_six_frames_of_ours_lie_between_the_handler_and_the_send(stream: bool) -> None:
    world = World(streaming if stream else plain)
    transport = world.transport = Watched()
    async with world:
        response = await (world.stream() if stream else world.request())
        assert response.status == 200
    (below,) = transport.frames
    print("frames of ours at the send:", list(reversed(below)))
    assert below[-3:] == ["Surface.handle", "Connection._handle", "Connection.serve"]
    del below[-2:]
    assert len(below) <= FRAMES_MAX, list(reversed(below))


async def test_between_socket_and_pipeline_lie_a_few_calls(record_property: Callable[[str, object], None]) -> None:
    """From the bytes of a request to the pipeline, and from its reply to the bytes: what `surfaces` costs."""
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and "/proxy/surfaces/" in frame.f_code.co_filename:
            counted[frame.f_code.co_qualname] += 1

    async with World(plain) as world:
        reader, writer = await world.connect()
        for profiled in (False, True):
            sys.setprofile(count if profiled else None)
            try:
                writer.write(head(PLAIN, path="/agents/a/runs/r/v1/chat/completions") + PLAIN)
                assert (await read_response(reader)).status == 200
            finally:
                sys.setprofile(None)
    print("calls of the surface's for a plain request:", counted.total())
    record_property("surface_calls", counted.total())
    assert counted.total() <= SURFACE_CALLS_MAX, shown(counted)
