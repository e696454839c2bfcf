"""From the commit to the last byte: what the upstream says goes to the client, one write for each read.

Before the first write an error is a value; from here on it is an event inside the stream, in the client's dialect,
followed by an aborted connection: never a clean end, never a false `[DONE]`. One lazily moved timer watches silence,
slow readers and the deadline, so that a chunk costs no timer of its own.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Literal, Protocol

from msgspec import Struct

from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.following import Following, Joined
from proxy.execution.race import Answer
from proxy.execution.reading import Reading
from proxy.execution.record import Record
from proxy.telemetry.ladders import GapCounter
from proxy.types import Call

Headers = list[tuple[str, str]]


class Downstream(Protocol):
    """The client's side of one call. Writes raise ConnectionError once the client has gone."""

    async def whole(self, status: int, headers: Headers, body: bytes) -> None: ...

    async def start(self, status: int, headers: Headers) -> None: ...

    async def write(self, data: bytes) -> None:
        """Waits while the client reads too slowly."""
        ...

    async def end(self) -> None: ...

    def heartbeat(self) -> None:
        """A comment between two events; best effort."""
        ...

    def abort(self) -> None:
        """Ends the connection so that the client can tell that the reply is not complete."""
        ...


class Patience(Struct, frozen=True):
    """How long a committed stream may stand still. Seconds."""

    idle_s: float
    write_s: float
    heartbeat_s: float


Waiting = Literal["upstream", "client"]


class Watch:
    """Interrupts the task inside `async with` when nothing has moved for too long; `expired` says what was waited
    for.
    """

    def __init__(self, call: Call, patience: Patience, downstream: Downstream, *, in_events: bool) -> None:
        """`in_events`: comments may stand between the events of the reply."""
        self.moved_at = 0.0
        self.waiting: Waiting = "upstream"
        self.expired: Waiting | Literal["deadline"] | None = None
        self._deadline = call.deadline
        self._heartbeats = in_events
        self._patience = patience
        # Who is waited for can change between two ticks, so the timer looks in more often than either limit.
        self._glance_s = min(patience.idle_s, patience.write_s) / 4
        self._downstream = downstream
        self._loop = asyncio.get_running_loop()
        self._beat_at = self._loop.time()
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Watch:
        await self._timeout.__aenter__()
        self.moved_at = self._loop.time()
        self._tick()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)  # type: ignore[arg-type]  # typeshed wants TracebackType

    def _tick(self) -> None:
        now = self._loop.time()
        self.expired = self._overdue(now)
        if self.expired is not None:
            self._timeout.reschedule(now)
            return
        next_at = min(self._deadline, self.moved_at + self._limit_s, now + self._glance_s)
        if self._heartbeats:
            next_at = min(next_at, self._beat(now))
        self._timer = self._loop.call_at(next_at, self._tick)

    @property
    def _limit_s(self) -> float:
        return self._patience.idle_s if self.waiting == "upstream" else self._patience.write_s

    def _overdue(self, now: float) -> Waiting | Literal["deadline"] | None:
        if now >= self._deadline:
            return "deadline"
        return self.waiting if now >= self.moved_at + self._limit_s else None

    def _beat(self, now: float) -> float:
        """Sends a heartbeat if one is due, and says when the next may be."""
        due_at = max(self.moved_at, self._beat_at) + self._patience.heartbeat_s
        if now < due_at:
            return due_at
        if self.waiting == "upstream":
            self._downstream.heartbeat()
        self._beat_at = now
        return now + self._patience.heartbeat_s


async def relay(
    answer: Answer | Joined,
    downstream: Downstream,
    record: Record,
    *,
    headers: Headers | None,
    watch: Watch,
    clock: Clock,
) -> None:
    """Commits the reply and carries it to its end, or to where its hold ends. `headers` None: it is committed, and this
    is the rest of it. Raises ProxyError when the upstream breaks off or stalls."""
    exchange, reading = answer
    meter, gaps, transcript = exchange.meter, record.gaps or GapCounter(), record.transcript
    record.gaps = gaps
    look_at = inf if meter is None else meter.look_at
    try:
        async with watch:
            await _begin(reading.first, downstream, record, headers=headers, watch=watch)
            watch.moved_at = record.last_event_at = clock.now()
            if record.first_event_at is None:
                record.first_event_at = watch.moved_at
            while reading.more:
                data = await reading.read()
                if data is None:
                    break
                if data:
                    now = clock.now()
                    gaps.add(now - watch.moved_at)
                    watch.moved_at = record.last_event_at = now
                    watch.waiting = "client"
                    await downstream.write(data)
                    watch.waiting = "upstream"
                    record.bytes_out += len(data)
                    if transcript is not None:
                        transcript.add(data)
                if reading.fault is not None:
                    raise reading.fault
                if meter is not None and record.bytes_out >= look_at:
                    look_at = await meter.look(record.bytes_out)
                    if meter.cut:
                        data = exchange.cut()
                        await downstream.write(data)
                        record.bytes_out += len(data)
                        break
    except TimeoutError:
        raise _expired(watch, reading) from None
    await downstream.end()


async def _begin(data: bytes, downstream: Downstream, record: Record, *, headers: Headers | None, watch: Watch) -> None:
    """What is in hand goes out."""
    if headers is not None:
        record.status, record.committed = 200, True
        await downstream.start(200, headers)
    if not data:
        return  # the rest of a reply may be its end alone
    watch.waiting = "client"
    await downstream.write(data)
    watch.waiting = "upstream"
    record.bytes_out += len(data)
    if record.transcript is not None:
        record.transcript.add(data)


def _expired(watch: Watch, reading: Reading | Following) -> Exception:
    if watch.expired == "client" or not reading.more:  # all of the reply has been handed over
        return ConnectionResetError("the client read too slowly")
    if watch.expired == "deadline":
        return ProxyError("deadline_exceeded", "The deadline of this call passed while the model was answering.")
    return ProxyError("upstream_stalled", f"{reading.target_id} stopped sending in the middle of its reply.")
