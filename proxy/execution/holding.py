"""What is read of a reply before any of it goes to the client: all of one that is put together, or the first
tokens of a stream.

As long as nothing has gone out, an attempt that dies can be followed by another, and nobody notices. Failures are
settled here, as those before the first event are; a stream that is merely silent is handed on as far as it came.
"""

from __future__ import annotations

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


def _got(exchange: Exchange) -> dict[str, object]:
    return {"received_tokens": exchange.output_seen, "target": exchange.target.id}
