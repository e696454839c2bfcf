"""Where a worker's log goes: the standard error that all processes share, in writes that do not tear lines.

A pipe takes up to PIPE_BUF bytes in one piece (POSIX); more than that can be interleaved with what others write. So
lines go out in pieces that end with a line.
"""

from __future__ import annotations

import os
from select import PIPE_BUF


class WholeLines:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __repr__(self) -> str:
        return f"WholeLines({self._fd})"

    def write(self, data: memoryview) -> int:
        """As many lines as go in one piece; a line that is longer goes alone."""
        if len(data) <= PIPE_BUF:
            return os.write(self._fd, data)
        head = bytes(data[:PIPE_BUF])
        end = head.rfind(b"\n") + 1
        if not end:
            rest = bytes(data).find(b"\n") + 1
            end = rest or len(data)
        return os.write(self._fd, data[:end])

    def flush(self) -> None:
        """Nothing is kept."""
