"""A batch's life has no short cuts, and each status leaves its instant."""

from __future__ import annotations

import pytest

from proxy.batches.objects import ENDED, NEXT, STATUSES, Batch, Status, batch_form
from proxy.types import Identity


def batch(status: Status = "validating") -> Batch:
    return Batch("batch_1", "key k", "/v1/embeddings", "file-1", Identity("k", "a"), 100, 86_500, status)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("after", STATUSES)
def test_it_moves_along_its_table_only(status: Status, after: Status) -> None:
    moved = batch(status).moved(after, 123.9)
    assert (moved is not None) == (after in NEXT[status])
    if moved is not None:
        assert moved.status == after
        assert batch_form(moved)[f"{after}_at"] == 123
        assert moved.ended_at == (123 if after in ENDED else None)


def test_every_status_can_be_reached_and_those_at_the_end_are_left_for_nothing() -> None:
    reached = {after for status in STATUSES for after in NEXT[status]}
    assert reached | {"validating"} == set(STATUSES)
    assert {"failed", "completed", "expired", "cancelled"} == ENDED
