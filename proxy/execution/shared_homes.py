"""The homes of runs in a file that all processes of the gate map: what one learns the others know at once.

Without a lock: `policies.homes` says why none is needed. What is left from an earlier start does no harm, since engines
outlive the gate.
"""

from __future__ import annotations

import os
from mmap import mmap
from pathlib import Path
from typing import Final

from policies.homes import BYTES, Homes

NAME: Final = "homes"


def shared_homes(folder: Path) -> Homes:
    """Raises OSError, also where the disk has no room for it: a hole in a mapped file would end the process later."""
    fd = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, BYTES)
        return Homes(memoryview(mmap(fd, BYTES)))
    finally:
        os.close(fd)
