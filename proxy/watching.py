"""What a running gate looks at now and then: its configuration file, its file of keys, and how late its own loop is.

Files are compared by their content, not by their date alone, so that a mounted file that is swapped by a symbolic
link is seen and a touched one is not. A file that is half written fails the check and is looked at again the next
time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

CONFIG_EVERY_S = 2.0
KEYS_EVERY_S = 0.5
LAG_EVERY_S = 0.25


def fingerprint(file: Path) -> str | None:
    """None: it cannot be read now."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


async def watch_config(file: Path, reload: Callable[[], Awaitable[None]]) -> None:
    """Until it is cancelled."""
    stamp, seen = _stamp(file), fingerprint(file)
    while True:
        await asyncio.sleep(CONFIG_EVERY_S)
        now = _stamp(file)
        if now == stamp:
            continue
        stamp, content = now, fingerprint(file)
        if content is not None and content != seen:
            seen = content
            await reload()


async def watch_keys(look: Callable[[], None]) -> None:
    """A key revoked by another process stops working within `KEYS_EVERY_S`."""
    while True:
        await asyncio.sleep(KEYS_EVERY_S)
        look()


async def measure_lag(observe: Callable[[float], None]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        observe(max(0.0, loop.time() - due))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
