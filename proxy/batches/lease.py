"""Which of a gate's processes runs its batches: the one that holds a lock, which the system takes from the dead."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

NAME: Final = "batches.lock"


class Lease:
    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._fd: int | None = None

    def __repr__(self) -> str:
        return f"Lease({self._path}, held={self._fd is not None})"

    def take(self) -> bool:
        """Whether this process has it. The folder is there. Raises OSError."""
        if self._fd is not None:
            return True
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def give_up(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
