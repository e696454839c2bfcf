"""What the gate asks of an upstream: a request ready to send, a transport, and a reply read piece by piece.

Nothing above this package knows the HTTP client's types. An `UpstreamResponse` has one owner, who reads it to its end
or closes it. Errors are `ProxyError`s of source `upstream`, with `sent=False` when not one byte left the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from pricing.gpu import GpuMeter
from pricing.prompt_caches import CacheRule
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.types import Call, Target


class UpstreamRequest(Struct, frozen=True):
    method: str
    url: str
    headers: dict[str, str]  # complete, credential included: never logged, never shown
    body: bytes
    lines: bytes = b""  # `headers` by `header_lines`, where the provider has them at hand; as secret as they are

    def __repr__(self) -> str:
        return f"UpstreamRequest({self.method} {self.url}, {len(self.body)} bytes)"


class UpstreamResponse(Protocol):
    status: int
    headers: Mapping[str, str]  # case-insensitive

    @property
    def unread(self) -> int:
        """Bytes of the body that had come when it was closed, and that nobody took; for what has made them is billed
        by some."""
        ...

    async def read(self) -> bytes:
        """The next piece as it came; b"" at a clean end. Raises ProxyError upstream_broken if the body was cut."""
        ...

    def close(self) -> None:
        """Idempotent and immediate. A body read to its end returns the connection to the pool; any other closes it."""
        ...


def header_lines(headers: Mapping[str, str]) -> bytes:
    """As they are sent. Raises ProxyError for a line break: it would end the header where it stands."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text:
        raise ProxyError("internal", "A header for the upstream holds a line break.", sent=False)
    return text.encode("utf-8", "surrogateescape")


def unnoticed() -> None:
    """For whoever sends and need not know from when on it may cost something."""


class Transport(Protocol):
    async def send(self, request: UpstreamRequest, sent: Callable[[], None] = unnoticed) -> UpstreamResponse:
        """Returns when the head is in. `sent` is called before the first byte of the request leaves: what is cancelled
        before that has cost nothing. Bounded by the caller's timeout; a cancelled exchange closes its connection."""
        ...

    async def close(self) -> None: ...


class Provider(Protocol):
    """One configured upstream account or engine: the only holder of its credential."""

    name: str
    dialect: Dialect
    transport: Transport
    gpu: GpuMeter | None  # of an engine of one's own whose hours have a price
    checked: bool  # its health is asked for also while all is well

    def request(self, call: Call, target: Target, output_limit: int | None = None) -> UpstreamRequest:
        """`output_limit`: tokens of one choice, where the gate allows less than the client asked for."""
        ...

    def prompt_cache(self, model: str) -> CacheRule | None:
        """How its prompt cache is asked for; None: it is not to be asked."""
        ...

    def health(self) -> UpstreamRequest | None:
        """A question that costs nothing and that it answers with 2xx when it is well; None: it is not to be asked."""
        ...

    def load(self) -> UpstreamRequest | None:
        """A question that costs nothing and that it answers by how busy it is (`policies.engine_load`); None: it is no
        engine that could."""
        ...

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> ProxyError:
        """The meaning of a reply other than 2xx, with this provider's credential redacted from every word of it."""
        ...

    def redact(self, data: bytes) -> bytes:
        """`data` without this provider's credential. Returns the very object when there is nothing to remove."""
        ...

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end of `data` could be the beginning of the credential."""
        ...
