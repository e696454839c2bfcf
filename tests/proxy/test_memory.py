"""What a process that is up does about memory."""

from __future__ import annotations

import gc

from proxy.memory import settle


def test_what_was_made_before_is_looked_at_no_more() -> None:
    frozen, thresholds = gc.get_freeze_count(), gc.get_threshold()
    try:
        settle()
        assert gc.get_freeze_count() > frozen
        assert gc.get_threshold()[0] > thresholds[0]
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
