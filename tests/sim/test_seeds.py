"""Whole gates in virtual time, one a seed: whatever vendors, clients and operators do, the invariants hold afterwards.

A failure names its seed; `python -m tests.sim SEED` prints the timeline of that world.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.sim.invariants import violations
from tests.sim.scenes import SCENES
from tests.sim.world import Run, live

LEDGER_EVERY = 5
SHOWN = 5


def batch(seeds: range, folder: Path) -> list[Run]:
    runs, found = [], []
    for seed in seeds:
        run = live(seed, folder if seed % LEDGER_EVERY == 0 else None)
        runs.append(run)
        found += violations(run)
    assert not found, "\n".join([f"{len(found)} violations", *found[:SHOWN]])
    return runs


def test_the_invariants_hold_for_a_few_seeds(tmp_path: Path) -> None:
    batch(range(25), tmp_path)


@pytest.mark.slow
def test_the_invariants_hold_for_every_seed_and_every_fault_occurs(tmp_path: Path) -> None:
    runs = batch(range(150), tmp_path)
    scenes = Counter(sale.kind for run in runs for sale in run.sales)
    missing = {*SCENES, "good", "simulated"} - {*scenes, "429 storm"}
    assert not missing, f"never happened: {missing}"
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    codes = {outcome.error_code for outcome in outcomes}
    assert codes >= {"upstream_broken", "upstream_stalled", "upstream_timeout", "deadline_exceeded", "upstream_auth"}
    assert {outcome.served_by for outcome in outcomes} >= {"primary", "retry", "fallback", "join", "none"}
    assert {outcome.config_version for outcome in outcomes} == {"one", "two"}
    sources = {attempt.usage.source for o in outcomes for attempt in o.attempts if attempt.usage is not None}
    assert sources == {"reported", "counted", "estimated"}
    assert any(outcome.client_gone for outcome in outcomes)
    assert any(asking.wire.heartbeats for run in runs for asking in run.askings)


@pytest.mark.parametrize("seed", range(0, 150, 30))
def test_the_same_seed_is_the_same_world_twice(seed: int) -> None:
    first, second = live(seed).trace(), live(seed).trace()
    assert _without_addresses(first) == _without_addresses(second)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1_000, 3_000, 100))
def test_the_invariants_hold_for_many_more_seeds(first: int, tmp_path: Path) -> None:
    batch(range(first, first + 100), tmp_path)


def _without_addresses(trace: list[str]) -> list[str]:
    return [re.sub(r" at 0x[0-9a-f]+", "", line) for line in trace]
