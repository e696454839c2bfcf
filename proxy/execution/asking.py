"""Who makes calls because of another call: an embedding, a verdict, a sample in the shadow. See `side_calls`."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from proxy.errors import ProxyError
from proxy.snapshot import Snapshot
from proxy.types import Call, Endpoint


class SideReply(Struct, frozen=True):
    """`cost_usd_nanos` None: it had no price."""

    id: str
    status: int
    body: bytes
    cost_usd_nanos: int | None


class Asks(Protocol):
    async def ask(
        self, cause: Call, endpoint: Endpoint, body: bytes, *, snapshot: Snapshot, seconds: float
    ) -> SideReply | ProxyError:
        """The model is the body's. An error is a value: whoever asks can do without. Whoever stops waiting stops it."""
        ...
