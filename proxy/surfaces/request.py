"""One request as it came: its head, and its body for as long as that is still coming.

A `Request` never changes; its `Body` grows while the connection reads, and has one reader at most. Names of headers are
in lower case, and of a header that is repeated the first value counts.
"""

from __future__ import annotations

import asyncio
import sys

from msgspec import Struct


class Body(Struct, eq=False):
    """What has come of a request's body. Only as much is kept as its reader allows."""

    size: int = 0
    complete: bool = False
    broken: bool = False  # it is not framed as its head said; nothing more will come
    _limit: int = sys.maxsize  # until somebody reads, the connection sees to it that this is not needed
    _parts: list[bytes] = []
    _waiter: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        state = "complete" if self.complete else "broken" if self.broken else "coming"
        return f"Body({self.size} bytes, {state})"

    @property
    def awaited(self) -> bool:
        return self._waiter is not None

    def data(self) -> bytes:
        parts = self._parts
        if len(parts) != 1:
            parts = self._parts = [b"".join(parts)]  # not both for as long as the request lasts
        return parts[0]

    async def arrive(self, limit: int) -> None:
        """Returns once the body is complete, broken or larger than `limit`; of a larger one nothing more is kept."""
        self._limit = limit
        if self.complete or self.broken or self.size > limit:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # --- the connection's side ---------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= self._limit:
            self._parts.append(data)
        else:
            self._parts.clear()
            self._wake()

    def end(self) -> None:
        self.complete = True
        self._wake()

    def fail(self) -> None:
        self.broken = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Request(Struct, frozen=True):
    method: str
    target: str  # as it was sent: nothing is decoded
    headers: dict[str, str]
    chunks: bool  # the client speaks HTTP/1.1, so it reads a body in chunks
    keep_alive: bool  # as far as the client is concerned
    body: Body

    def __repr__(self) -> str:
        """Without the headers: one of them is the key."""
        return f"Request({self.method} {self.target[:128]}, {self.body!r})"
