"""A request's body, within bounds of size and time, and only in the plain form that will be forwarded.

Most bodies have come with their head and cost neither a wait nor a timer. The others have `body_floor_s`, or the time
that their size takes at the slowest rate allowed.
"""

from __future__ import annotations

import asyncio

from aiohttp import StreamReader, web

from proxy.errors import ProxyError
from proxy.snapshot import Limits


async def read_body(request: web.BaseRequest, limits: Limits, seconds_allowed: float) -> bytes:
    """Raises ProxyError. `seconds_allowed`: the call's own deadline, which its upload must keep as well."""
    headers = request.headers
    encoding = headers.get("Content-Encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise ProxyError(
            "unsupported_encoding", f"Content-Encoding {encoding[:32]!r} is not accepted; send plain bytes."
        )
    length = request.content_length
    if length is not None and length > limits.body_bytes_max:
        raise _too_large(limits)
    expect = headers.get("Expect")
    if expect is not None:
        await _expect(request, expect)
    content = request.content
    if content.is_eof():  # the whole body came with the head: no wait, no timer
        return _checked(content.read_nowait(), limits)
    seconds = _body_seconds(length, limits)
    try:
        async with asyncio.timeout(min(seconds, seconds_allowed)):
            return await _collect(content, limits)
    except TimeoutError:
        if seconds_allowed < seconds:
            raise ProxyError("deadline_exceeded", "The deadline of this call passed during its upload.") from None
        raise ProxyError("request_timeout", "The request's body did not arrive in time.") from None
    except web.RequestPayloadError:
        raise ProxyError("invalid_request", "The request's body is not framed as its headers say.") from None


def _body_seconds(length: int | None, limits: Limits) -> float:
    size = limits.body_bytes_max if length is None else length
    return max(limits.body_floor_s, size / limits.body_bytes_a_second)


async def _collect(content: StreamReader, limits: Limits) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for data in content.iter_any():
        size += len(data)
        if size > limits.body_bytes_max:
            raise _too_large(limits)
        parts.append(data)
    return b"".join(parts)


def _checked(body: bytes, limits: Limits) -> bytes:
    if len(body) > limits.body_bytes_max:
        raise _too_large(limits)
    return body


def _too_large(limits: Limits) -> ProxyError:
    return ProxyError("request_too_large", f"The body is larger than {limits.body_bytes_max} bytes.")


async def _expect(request: web.BaseRequest, value: str) -> None:
    if value.lower() != "100-continue":
        raise ProxyError("expectation_failed", f"The expectation {value[:32]!r} cannot be met; only 100-continue can.")
    transport = request.transport
    if transport is not None:
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
