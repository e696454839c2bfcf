"""A request's body, within bounds of size and time, and only in the plain form that will be forwarded.

Most bodies have come with their head and cost neither a wait nor a timer. The others have `body_floor_s`, or the time
that their size takes at the slowest rate allowed.
"""

from __future__ import annotations

import asyncio

from proxy.errors import ProxyError
from proxy.snapshot import Limits
from proxy.surfaces.connection import Connection
from proxy.surfaces.request import Body, Request

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def read_body(request: Request, connection: Connection, *, limits: Limits, seconds_allowed: float) -> bytes:
    """Raises ProxyError. `seconds_allowed`: the call's own deadline, which its upload must keep as well."""
    headers, body = request.headers, request.body
    encoding = headers.get("content-encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise ProxyError(
            "unsupported_encoding", f"Content-Encoding {encoding[:32]!r} is not accepted; send plain bytes."
        )
    expected = headers.get("expect")
    if expected is not None and expected.lower() != "100-continue":
        what = f"The expectation {expected[:32]!r} cannot be met; only 100-continue can."
        raise ProxyError("expectation_failed", what)
    if not body.complete:  # else it came with the head: no wait, no timer
        length = length_of(headers, limits)
        if expected is not None:
            connection.write(CONTINUE)
        connection.read_on()
        await _arrive(body, length, limits=limits, seconds_allowed=seconds_allowed)
    if body.size > limits.body_bytes_max:
        raise _too_large(limits)
    if not body.complete:
        raise ProxyError("invalid_request", "The request's body is not framed as its headers say.")
    return body.data()


async def _arrive(body: Body, length: int, *, limits: Limits, seconds_allowed: float) -> None:
    seconds = max(limits.body_floor_s, length / limits.body_bytes_a_second)
    try:
        async with asyncio.timeout(min(seconds, seconds_allowed)):
            await body.arrive(limits.body_bytes_max)
    except TimeoutError:
        if seconds_allowed < seconds:
            raise ProxyError("deadline_exceeded", "The deadline of this call passed during its upload.") from None
        raise ProxyError("request_timeout", "The request's body did not arrive in time.") from None


def length_of(headers: dict[str, str], limits: Limits) -> int:
    """Bytes that are announced, or the most that a body without a length may have. Raises ProxyError."""
    if "content-length" not in headers:
        return limits.body_bytes_max
    digits = headers["content-length"].lstrip("0")  # the parser has seen that they are, but not how many zeros precede
    length = int(digits or "0")
    if length > limits.body_bytes_max:
        raise _too_large(limits)
    return length


def _too_large(limits: Limits) -> ProxyError:
    return ProxyError("request_too_large", f"The body is larger than {limits.body_bytes_max} bytes.")
