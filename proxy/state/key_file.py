"""Files that hold keys: replaced whole, readable by their owner alone, one writer at a time, errors in plain words."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy.clock import secret_token


class KeyStoreError(Exception):
    """The key file or the pepper cannot be used; the message says what would mend it."""


def write(file: Path, data: bytes) -> None:
    """Whole or not at all, and on the disk when this returns."""
    fresh = file.with_name(f".{file.name}.{secret_token(6)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One writer at a time. The wait is as long as another's writing of one small file."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(folder / "keys.lock", os.O_RDWR | os.O_CREAT, 0o600)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def refusing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KeyStoreError(f"{folder} cannot hold keys: {error.strerror}") from None
    except (ValueError, RecursionError):  # msgspec's decoding errors among them
        raise KeyStoreError(f"a file of keys in {folder} is broken; restore it") from None
