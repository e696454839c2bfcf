"""The last part of a call's way: its answer goes to the client, and what must be settled or kept first is.

A whole reply is written at once; a stream goes out as it comes, and its last word waits where something must be on the
disk before the client has all of it.
"""

from __future__ import annotations

from functools import partial

from proxy import headers
from proxy.caching.recalled import Recalled, Remembered
from proxy.execution.bench import Rules
from proxy.execution.following import Following, Joined
from proxy.execution.race import Answer
from proxy.execution.record import Record
from proxy.joining import follow
from proxy.last_word import LastWord
from proxy.parts import Parts
from proxy.relay import Downstream, Patience
from proxy.snapshot import Snapshot
from proxy.survival import Means, Stream


class Delivery:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def __repr__(self) -> str:
        return f"Delivery({self._parts.caches!r})"

    async def answer(
        self, record: Record, downstream: Downstream, answer: Answer, *, rules: Rules, snapshot: Snapshot
    ) -> None:
        """An upstream's."""
        if answer[1].streams:
            await self._stream(record, downstream, answer, rules=rules, snapshot=snapshot)
        else:
            await self._whole(record, downstream, answer, snapshot)

    async def known(
        self, record: Record, downstream: Downstream, known: Recalled | Following, snapshot: Snapshot
    ) -> None:
        """One that costs nothing."""
        if isinstance(known, Following):
            await self._follow(record, downstream, known, snapshot)
        else:
            await self._whole(record, downstream, (known, known), snapshot)

    async def _follow(self, record: Record, downstream: Downstream, following: Following, snapshot: Snapshot) -> None:
        joined = (following, following)
        if not following.streams:
            await self._whole(record, downstream, joined, snapshot)
            return
        if snapshot.strict:
            downstream = LastWord(downstream, following, partial(self._settle_first, record, snapshot, joined))
        await follow(following, record, downstream=downstream, limits=snapshot.limits, clock=self._parts.clock)

    async def _whole(
        self, record: Record, downstream: Downstream, answer: Answer | Joined | Remembered, snapshot: Snapshot
    ) -> None:
        exchange, reading = answer
        await exchange.end("complete")  # settled before the write, so that the reply can say what it cost
        if not record.open:  # else a hedge that lost is read to its end by a task: see `_close`
            record.close()  # ... and so that nothing is held for as long as a slow client takes to read
        record.status, record.bytes_out = 200, len(reading.first)
        now = self._parts.clock.now()
        record.first_event_at = record.last_event_at = now
        if record.keeps:
            await self._keep(record, snapshot, answer, reading.first)
        if snapshot.strict:
            await self._record_first(record, snapshot)
        record.committed = True
        if record.flight is not None:
            record.flight.land(answer, record.plan, known=record.reused is not None)
        await downstream.whole(200, headers.of_reply(record, exchange, reading, now), reading.first)
        if record.pupils:
            record.teach(reading.first)

    async def _stream(
        self, record: Record, downstream: Downstream, answer: Answer, *, rules: Rules, snapshot: Snapshot
    ) -> None:
        exchange, reading = answer
        parts, limits = self._parts, snapshot.limits
        patience = Patience(rules.timeouts.idle_s, limits.write_timeout_s, limits.heartbeat_s)
        record.in_events = reading.passage is not None
        if record.flight is not None:
            record.flight.take_off(answer, record.plan, limits.join_bytes_max)
        shown = headers.of_reply(record, exchange, reading, parts.clock.now())
        settle = partial(self._settle_first, record, snapshot) if snapshot.strict or record.keeps else None
        if record.entered:
            parts.caches.streaming(record)
        stream = Stream(Means(parts.clock, parts.dialect, parts.race, rules, patience), record, downstream)
        exchange, reading = await stream.carry(answer, shown, settle)
        # The client has its reply whole: a connection that it closes from here on changes nothing.
        record.delivered = True
        if record.pupils and record.flight is not None and not reading.cut_short:
            text = record.flight.text
            if text is not None:
                record.teach(text)
        if record.finished:
            return
        if reading.cut_short:
            if exchange.abort != "continues":  # else `_close` has it read to its end, for the bill
                await exchange.end("abandoned")
            return
        try:
            await reading.read_trailer()
        finally:
            await exchange.end("complete")

    async def _settle_first(self, record: Record, snapshot: Snapshot, answer: Answer | Joined, rest: bytes) -> None:
        """All of a stream but its last bytes has gone out."""
        exchange, reading = answer
        if not reading.cut_short:
            await reading.read_trailer()
            await exchange.end("complete")
        elif exchange.abort != "continues":
            await exchange.end("abandoned")
        if record.keeps and record.flight is not None and not reading.cut_short:
            text = record.flight.text
            await self._keep(record, snapshot, answer, None if text is None else text + rest)
        if snapshot.strict:
            record.bytes_out += len(rest)
            await self._record_first(record, snapshot)

    async def _keep(
        self, record: Record, snapshot: Snapshot, answer: Answer | Joined | Remembered, body: bytes | None
    ) -> None:
        """All of a reply, for whoever asks the same, or what means the same."""
        rules = snapshot.rules(record.call.identity.agent).cache
        if record.wanted is not None:
            await self._parts.caches.keep(record, rules, answer, body)
        if record.lookup is not None and self._parts.semantic is not None:
            self._parts.semantic.learn(record, rules, snapshot=snapshot, answer=answer, body=body)

    async def _record_first(self, record: Record, snapshot: Snapshot) -> None:
        """The call's row is on the disk when this returns; not where a provider that bills on is still being read."""
        if not record.open:
            await self._parts.finish.finish(record, snapshot.version)
            await self._parts.recorded()
