"""What is read of replies for the bill alone, after the client has left: those that their provider bills on regardless.

A client that asks again meanwhile has joined the call, and gets what is read here.
"""

from __future__ import annotations

import asyncio

from proxy.errors import ProxyError
from proxy.execution.flight import Flight
from proxy.execution.reading import Reading
from proxy.execution.record import Record, Unended


def can_be_joined(record: Record) -> bool:
    """While it is drained: whether all of one reply will have been kept. What comes before the first content of a
    stream is not."""
    flight = record.flight
    if flight is None or len(record.open) != 1:
        return False
    reading = record.open[0].reading
    return reading is not None and (flight.streams or reading.passage is None)


async def drain(record: Record, seconds: float) -> None:
    """Ends the attempts whose replies come to their end in time; the others are left as they are."""
    try:
        async with asyncio.timeout(seconds):
            for exchange in tuple(record.open):
                if await _is_whole(record, exchange):
                    await exchange.end("complete")
    except TimeoutError:
        return
    except ProxyError as error:
        if record.flight is not None:
            record.flight.fail(error)


async def _is_whole(record: Record, exchange: Unended) -> bool:
    """Whether its reply was read to its end, or is by now."""
    reading, flight = exchange.reading, record.flight
    if reading is None:
        return False
    if record.delivered and exchange is record.answered and not reading.cut_short:
        return True
    if flight is None or flight.closed:
        return await reading.drain()
    if flight.streams:
        await _carry_on(reading, flight)
        return await reading.drain()
    whole = await reading.drain()
    if whole and reading.reply is not None:
        flight.land((exchange, reading), record.plan)
    return whole


async def _carry_on(reading: Reading, flight: Flight) -> None:
    """The rest of a stream, for those who have joined it."""
    while reading.more and (data := await reading.read()) is not None:
        if data:
            flight.keep(data)
        if reading.fault is not None:
            flight.fail(reading.fault)
            return
    flight.end()
