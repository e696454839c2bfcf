"""How a process treats memory: the collector runs seldom, and never looks again at what a process that serves keeps."""

from __future__ import annotations

import gc

SELDOM = (50_000, 20, 50)


def loading() -> None:
    """Next to nothing of what is made now is garbage: modules, classes, tables."""
    gc.set_threshold(*SELDOM)


def settle() -> None:
    """What was made so far lives as long as the process: the collector need not look at it again, and seldom at the
    rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SELDOM)
