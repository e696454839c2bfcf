"""A run never breaks a ceiling, whatever it does: money, tokens, steps, wall time, width and depth."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.effort import rounds
from tests.sim.ceilings import Ceilings, Life, broken, drawn, live
from tests.sim.virtual import run

RUNS = 1_000


def test_no_run_breaks_a_ceiling() -> None:
    told: Counter[str] = Counter()
    for seed in range(rounds(RUNS)):
        lived = live(seed)
        assert list(broken(lived)) == [], f"seed {seed}: {drawn(seed)}"
        told.update(runs=len(lived.began), served=lived.served, given=lived.given, refused=lived.refused)
    print(dict(told))
    assert min(told["served"], told["refused"]) > rounds(RUNS)  # there was something to break, and somebody tried
    assert told["given"] > 0


@pytest.mark.parametrize(
    ("ceilings", "unit"),
    [
        (Ceilings(usd_nanos=1_000), "usd"),
        (Ceilings(tokens=10), "tokens"),
        (Ceilings(steps=1), "steps"),
        (Ceilings(seconds=0.01), "after its end"),
        (Ceilings(width=1), "width"),
        (Ceilings(depth=1), "below level"),
    ],
)
def test_a_ceiling_that_is_broken_is_found(ceilings: Ceilings, unit: str) -> None:
    """Runs that were lived without any, measured against one."""
    found: list[str] = []
    for seed in range(12):
        lived = run(Life(Ceilings(), seed).live())
        lived.ceilings = ceilings
        found += broken(lived)
    assert any(unit in each for each in found)
