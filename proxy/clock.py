"""The only file that may name `time`, `random` or `secrets`: everyone else is handed a `Clock`.

Monotonic time is the running event loop's own, so a test that swaps the loop swaps the clock. `rng(purpose)` gives
each purpose a stream of its own, drawn from one seed: adding a draw in one place moves no other.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from calendar import timegm
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float: ...  # monotonic seconds, the event loop's
    def wall(self) -> float: ...  # seconds since 1970, for records that people read
    def id(self) -> str: ...  # 32 hexadecimal digits, unique, ordered by time; also a valid W3C trace id
    def rng(self, purpose: str) -> random.Random: ...


class SystemClock:
    """Real time; ids from the operating system's randomness."""

    def __init__(self, seed: int | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now` must run with the event loop's clock. A real loop's is `time.monotonic`, which uvloop rounds to whole
        milliseconds when asked through `loop.time`; a virtual loop's is its own (`loop_time`)."""
        self.now = now
        self._seed = secrets.randbits(64) if seed is None else seed
        self._ids = random.Random(f"ids:{self._seed}")  # no purpose can be called so
        self._streams: dict[str, random.Random] = {}

    wall = staticmethod(time.time)

    def id(self) -> str:
        # Milliseconds first: what is written one after another then stands together in the ledger's index.
        return f"{int(time.time() * 1000):012x}{self._ids.getrandbits(80):020x}"

    def rng(self, purpose: str) -> random.Random:
        stream = self._streams.get(purpose)
        if stream is None:
            stream = self._streams[purpose] = random.Random(f"{self._seed}:{purpose}")
        return stream


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def secret_token(bytes_of_entropy: int = 32) -> str:
    """An unguessable token in URL-safe base64."""
    return secrets.token_urlsafe(bytes_of_entropy)


def secret_bytes(count: int = 32) -> bytes:
    return secrets.token_bytes(count)


def http_date() -> str:
    """The present instant as HTTP writes it (RFC 9110, 5.6.7)."""
    return _http_date(int(time.time()))


@lru_cache(maxsize=2)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)


def day_wall(day: str) -> float:
    """Seconds since 1970 at the beginning of a day ("2026-11-22", UTC)."""
    return float(timegm(time.strptime(day, "%Y-%m-%d")))


def today(clock: Clock) -> str:
    """The present day in UTC ("2026-11-22")."""
    return time.strftime("%Y-%m-%d", time.gmtime(clock.wall()))
