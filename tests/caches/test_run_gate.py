"""The gate in the world that its benchmark plays, made-up agents: nobody is left standing, and it is worth its wait."""

from __future__ import annotations

import pytest

from loadtests.replay.agents import Open
from loadtests.replay.traces import agents
from tests.caches.run_gate import KV_TOKENS, RealGate, play


@pytest.mark.slow
def test_runs_past_the_memory_are_faster_when_some_of_them_wait() -> None:
    runs = agents(None, 1, 200)
    alone, gated = play(runs, 1, lambda world: Open()), play(runs, 1, lambda world: RealGate(world, KV_TOKENS))
    assert gated.run_s < 0.7 * alone.run_s
    assert gated.cached > alone.cached + 0.2


def test_a_few_runs_do_not_notice_it() -> None:
    runs = agents(None, 1, 16)
    alone, gated = play(runs, 1, lambda world: Open()), play(runs, 1, lambda world: RealGate(world, KV_TOKENS))
    assert gated.run_s <= 1.01 * alone.run_s
