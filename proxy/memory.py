"""How a process that serves treats memory once it is up."""

from __future__ import annotations

import gc


def settle() -> None:
    """What was made so far lives as long as the process: the collector need not look at it again, and seldom at the
    rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
