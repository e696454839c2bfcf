"""The whole gate in the tail's world: one outcome a call, tries within limits, and the same run twice.

The figures themselves are printed by `make bench-tail`; here is what must hold whatever they are.
"""

from __future__ import annotations

import pytest

from loadtests.tail.scenarios import Scenario, scenarios
from tests.sim.virtual import run
from tests.tail.bench import HINDSIGHT, compare, gate

COUNT = 400
FOUND = scenarios(1, None, COUNT)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", FOUND, ids=[scenario.name for scenario in FOUND])
def test_whatever_the_world_does_every_call_has_one_end_and_tries_stay_within_limits(scenario: Scenario) -> None:
    played = run(gate(scenario, seed=1))
    assert played.requests == len(played.took) + len(played.failed_at) == len(scenario.requests)
    assert len(played.asked) <= 3 * len(scenario.requests)
    assert played.calls <= 1.2 + 10 / COUNT
    assert max(played.seconds, default=0.0) <= scenario.patience_s + 0.1


def test_the_same_seed_is_the_same_run() -> None:
    first, second = (run(gate(scenarios(1, None, 200)[0], seed=1)) for _ in range(2))
    assert first == second


def test_all_sides_are_dealt_the_same_cards() -> None:
    """Where nothing fails, nothing is repeated and targets are alike, the fastest half of all sides is the same."""
    sides = compare(scenarios(1, None, 200)[0], seed=1)
    medians = [played.quantile(0.5) for played in sides.values()]
    assert list(sides)[-1] == "headgate"
    assert max(medians) <= 1.15 * min(medians)


@pytest.mark.slow
def test_hindsight_keeps_its_bound_on_calls_and_nearly_uses_it_up() -> None:
    scenario = scenarios(1, None, 2_000)[0]
    best = compare(scenario, seed=1)[HINDSIGHT]
    assert scenario.most_calls is not None
    assert scenario.most_calls - 0.005 <= best.calls <= scenario.most_calls
