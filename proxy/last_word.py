"""A client that gets the end of its reply only once something is on the disk: its call's row (`ledger.strict`), or the
reply itself, where a replay of the call must find it.

What was relayed before has gone out as it came. The last write of a stream, or what ends it where there is none, waits
for the settlement and for the disk; so a crash loses no call whose reply was whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from proxy.execution.following import Following
from proxy.execution.reading import Reading
from proxy.relay import Downstream, Headers

Settle = Callable[[bytes], Awaitable[None]]  # with what will still be written; raises ProxyError


async def unwritten() -> None:
    """For a gate without a disk."""


class LastWord:
    """The downstream of one stream. `settle` is asked once."""

    def __init__(self, inner: Downstream, reading: Reading | Following, settle: Settle) -> None:
        self._inner = inner
        self._reading = reading
        self._settle = settle
        self._settled = False

    def __repr__(self) -> str:
        return f"LastWord({self._reading!r}, settled={self._settled})"

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        await self._before(body)
        await self._inner.whole(status, headers, body)

    async def start(self, status: int, headers: Headers) -> None:
        await self._inner.start(status, headers)

    async def write(self, data: bytes) -> None:
        if (not self._reading.more and self._reading.fault is None) or self._reading.cut_short:
            await self._before(data)
        await self._inner.write(data)

    async def end(self) -> None:
        await self._before(b"")
        await self._inner.end()

    def heartbeat(self) -> None:
        self._inner.heartbeat()

    def abort(self) -> None:
        self._inner.abort()

    async def _before(self, rest: bytes) -> None:
        if not self._settled:
            self._settled = True
            await self._settle(rest)
