from __future__ import annotations

from itertools import pairwise

import pytest

from proxy.telemetry import ladders
from proxy.telemetry.ladders import CHUNK, GapCounter, bucket

LADDERS = {name: value for name, value in vars(ladders).items() if name.isupper()}


@pytest.mark.parametrize("name", LADDERS)
def test_edges_rise_strictly(name: str) -> None:
    edges = LADDERS[name]
    assert all(below < above for below, above in pairwise(edges))


@pytest.mark.parametrize(
    ("value", "index"), [(0.0, 0), (0.001, 0), (0.0011, 1), (0.005, 1), (29.9, 12), (30.0, 12), (30.1, 13)]
)
def test_an_edge_holds_its_own_value(value: float, index: int) -> None:
    assert bucket(ladders.WAIT, value) == index


def test_gaps_are_counted_into_the_edges_of_the_chunk_ladder() -> None:
    counter = GapCounter()
    for gap in (0.005, 0.02, 0.0201, 31.0, 31.0):
        counter.add(gap)
    gaps = counter.gaps()
    assert len(gaps.counts) == len(CHUNK) + 1
    assert {index: count for index, count in enumerate(gaps.counts) if count} == {0: 1, 2: 1, 3: 1, 15: 2}
    assert gaps.sum_s == pytest.approx(62.0451)


def test_gaps_handed_out_do_not_change_afterwards() -> None:
    counter = GapCounter()
    counter.add(1.0)
    before = counter.gaps()
    counter.add(1.0)
    assert sum(before.counts) == 1
