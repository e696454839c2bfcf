"""The gate's router in the world of replicas: never worse than the others; all figures: `make bench-caches`."""

from __future__ import annotations

import pytest

from loadtests.replay.traces import CONVERSATION, agents, conversation
from policies.homes import Homes
from tests.caches.affinity import EQUAL, OURS, ROUTERS, agents_figures, figures, processes, talked, worked
from tests.conftest import TRACES

RUNS = agents(None, 1, 48)


@pytest.mark.slow
def test_made_up_agents_wait_less_than_with_any_other_router() -> None:
    found = {name: agents_figures([RUNS], EQUAL, make) for name, make in ROUTERS.items() if name != "least requests"}
    assert found[OURS].mean <= 1.05 * min(each.mean for each in found.values())


@pytest.mark.slow
def test_four_processes_that_share_homes_are_nearly_as_good_as_one() -> None:
    one = agents_figures([RUNS], EQUAL, ROUTERS[OURS])
    four = figures([worked(RUNS, EQUAL, processes(4, 1_500, 1, homes=Homes()), seed=0)])
    assert four.mean <= 1.8 * one.mean


@pytest.mark.slow
def test_the_recorded_conversation_waits_half_as_long_as_with_least_requests() -> None:
    if not (TRACES / CONVERSATION).exists():
        pytest.skip("traces not found: set HEADGATE_TRACES to the folder that holds mooncake_conversation.jsonl.gz")
    arrivals = conversation(TRACES, 1)
    least = figures([talked(arrivals, EQUAL, ROUTERS["least requests"](2_000, 1))])
    ours = figures([talked(arrivals, EQUAL, ROUTERS[OURS](2_000, 1))])
    assert ours.mean <= 0.5 * least.mean
