"""What is asked of a store that several gates share, and how it says that it cannot.

The client library is an extra, loaded with the first connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol

Order = tuple[Sequence[str], Sequence[str]]
"""Of a script: its keys, its arguments."""


class StoreError(Exception):
    """It did not do what it was asked, or nobody knows whether it did; the text is a word for a log."""


class Store(Protocol):
    """Every method raises StoreError."""

    async def run(self, script: str, orders: Sequence[Order]) -> list[list[int]]:
        """Each order by itself and at once, in turn; all in one round trip."""
        ...

    async def get(self, keys: Sequence[str]) -> list[bytes | None]: ...

    async def put(self, key: str, value: bytes, ttl_s: float) -> None: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


def connect(url: str, timeout_s: float) -> Store:
    """Nothing is sent yet. `timeout_s`: of each command. Raises ValueError: it is no address."""
    client: Callable[[str, float], Store] = import_module("proxy.state.redis_client").Client
    return client(url, timeout_s)
