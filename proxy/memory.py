"""How a process that serves treats memory: it looks for garbage rarely, and keeps what it will need again.

What was made by the time of the first call lives as long as the process, so the collector need not look at it. glibc
returns freed memory to the kernel as soon as 128 KB of it lie at the top of the heap, which a few large bodies fill and
empty at every turn: six page faults a request, each some microseconds. A few megabytes stay instead (mallopt(3)); an
allocator that knows no such setting is left as it is.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Final

KEPT_BYTES: Final = 8 * 1024 * 1024
STEP_BYTES: Final = 1024 * 1024  # the heap grows by so much at once; larger blocks come from the kernel one by one
M_TRIM_THRESHOLD: Final = -1  # numbers of glibc's malloc.h
M_TOP_PAD: Final = -2
M_MMAP_THRESHOLD: Final = -3


def settle() -> None:
    """Once, when all that serves has been made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, value in (
            (M_TRIM_THRESHOLD, KEPT_BYTES),
            (M_TOP_PAD, STEP_BYTES),
            (M_MMAP_THRESHOLD, STEP_BYTES),
        ):
            mallopt(setting, value)
