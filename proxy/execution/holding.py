"""What is read of a reply before any of it goes to the client: all of one that is put together, or the first
tokens of a stream.

As long as nothing has gone out, an attempt that dies can be followed by another, and nobody notices. Failures are
settled here, as those before the first event are; a stream that is merely silent is handed on as far as it came.
"""

from __future__ import annotations

from math import inf
from typing import Final

from proxy.alarm import Alarm
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.attempt import Exchange
from proxy.execution.bench import Rules, Timeouts
from proxy.execution.ending import ending_of, stalled

HOLD_S: Final = 2.0  # from the first content of a stream to its commit, at most


async def gather(exchange: Exchange, timeouts: Timeouts, *, deadline: float, clock: Clock) -> None:
    """The rest of a reply that the client gets whole. Raises ProxyError, which says how much of it had come."""
    reading = exchange.reading
    assert reading is not None  # it has begun
    try:
        while reading.gathers:
            with Alarm(min(deadline, clock.now() + exchange.idle_s(timeouts))):
                await reading.gather(timeouts.reply_bytes_max)
    except TimeoutError:
        error = stalled(exchange.target.id, over=clock.now() >= deadline)
        error.details = _got(exchange)
        await exchange.end("abandoned", error)
        raise error from None
    except ProxyError as error:
        error.details = {**_got(exchange), **error.details}
        await exchange.end(ending_of(reading, error), error)
        raise


async def hold(exchange: Exchange, rules: Rules, *, deadline: float, clock: Clock) -> None:
    """Keeps a stream in hand until it has `hold_tokens` or is whole, for HOLD_S at most. Raises ProxyError."""
    reading, tokens = exchange.reading, rules.survival.hold_tokens
    assert reading is not None  # it has begun
    if reading.passage is None or not reading.streams:
        return
    try:
        with Alarm(min(deadline, clock.now() + HOLD_S)):
            while reading.more and exchange.output_seen < tokens:
                if not await reading.hold(rules.timeouts.reply_bytes_max):
                    return
    except TimeoutError:
        return
    except ProxyError as error:
        error.details = {**_got(exchange), **error.details}
        await exchange.end(ending_of(reading, error), error)
        raise


async def take(exchange: Exchange, rules: Rules, tokens: int | None, *, deadline: float, clock: Clock) -> bool:
    """Keeps all of a stream in hand, or its first `tokens`; whether it is all, or all that its money allows. Raises
    ProxyError."""
    reading, meter = exchange.reading, exchange.meter
    assert reading is not None  # it has begun
    look_at = inf if meter is None else meter.look_at
    bytes_max = rules.timeouts.reply_bytes_max
    try:
        while reading.streams and reading.more and (tokens is None or exchange.output_seen < tokens):
            with Alarm(min(deadline, clock.now() + exchange.idle_s(rules.timeouts))):
                await reading.hold(bytes_max)
            if len(reading.first) >= bytes_max:
                raise ProxyError("upstream_too_large", f"The reply of {exchange.target.id} is too long to be held.")
            if meter is not None and len(reading.first) >= look_at:
                look_at = await meter.look(len(reading.first))
                if meter.cut:
                    exchange.cut_held()
    except TimeoutError:
        error = stalled(exchange.target.id, over=clock.now() >= deadline)
        error.details = _got(exchange)
        await exchange.end("abandoned", error)
        raise error from None
    except ProxyError as error:
        error.details = {**_got(exchange), **error.details}
        await exchange.end(ending_of(reading, error), error)
        raise
    return not (reading.streams and reading.more)


async def put_down(exchange: Exchange) -> None:
    """Settles one of which all is in hand, but for what its provider bills to the end: that is read by a task."""
    reading = exchange.reading
    assert reading is not None  # it has begun
    if not reading.cut_short:
        if reading.streams:
            await reading.read_trailer()
        await exchange.end("complete")
    elif exchange.abort != "continues":
        await exchange.end("abandoned")


def _got(exchange: Exchange) -> dict[str, object]:
    return {"received_tokens": exchange.output_seen, "target": exchange.target.id}
