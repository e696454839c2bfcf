"""What a process does about memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from proxy.memory import loading, settle

PYTHONS_OWN = (700, 10, 10)


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.set_threshold(*PYTHONS_OWN)
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_was_made_before_is_looked_at_no_more() -> None:
    frozen = gc.get_freeze_count()
    settle()
    assert gc.get_freeze_count() > frozen
    assert gc.get_threshold()[0] > PYTHONS_OWN[0]


def test_while_loading_the_collector_runs_seldom_but_runs() -> None:
    loading()
    assert gc.isenabled()
    assert 10 * PYTHONS_OWN[0] <= gc.get_threshold()[0] < 1_000_000
