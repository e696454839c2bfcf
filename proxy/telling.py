"""An error as the client hears it: a response, or the last event of a stream that has begun and a cut connection."""

from __future__ import annotations

import asyncio

from proxy import headers
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.record import Record
from proxy.relay import Downstream


async def tell(record: Record, downstream: Downstream, error: ProxyError, dialect: Dialect) -> None:
    record.error = error
    try:
        if not record.committed:
            record.status, body = dialect.error(error)
            record.bytes_out = len(body)
            await downstream.whole(record.status, headers.of_error(record, error), body)
            return
        if record.in_events and not error.forwarded:
            await downstream.write(dialect.error_event(error, record.call.endpoint))
        downstream.abort()
    except ConnectionError:
        record.client_gone = True
        downstream.abort()
    except asyncio.CancelledError:
        record.client_gone = True
        raise
