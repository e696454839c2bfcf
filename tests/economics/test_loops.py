"""Every figure of the loops that the benchmark asks for is reached, with fewer of each."""

from __future__ import annotations

from random import Random

import pytest

from loadtests.replay.traces import RecordedCall
from policies.loops import LoopRules
from proxy.snapshot import AgentRules
from tests.economics import loops
from tests.sim.virtual import run


@pytest.mark.slow
def test_every_figure_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "SEEDS", 1)
    monkeypatch.setattr(loops, "LOOP_STEPS", 40)
    rows = list(loops.rows(None))
    missed = {row.figure for row in rows if row.reached is False}
    assert missed <= {"of what loops of 40 steps cost, saved"}  # a loop of six steps is not found before 30
    assert len([row for row in rows if row.reached]) >= 2 * len(loops.LOOPS) + len(loops.LOOKALIKES)


def test_a_loop_that_nobody_looks_for_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "ON", AgentRules(loops=LoopRules("annotate")))
    monkeypatch.setattr(loops, "LOOP_STEPS", 20)
    looped = run(loops._looped(loops.retried, 1, seed=1))
    assert not looped.refused
    assert looped.share == 1.0


def test_polling_that_nobody_named_would_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "ON", AgentRules(loops=LoopRules("on")))
    assert run(loops._lookalike(loops.polling, seed=1)).refused


def test_what_a_step_costs_is_less_where_the_one_before_has_its_prompt() -> None:
    def recorded(*blocks: tuple[int, int]) -> RecordedCall:
        return {"t": 0.0, "model": "m", "input": 6_400, "output": 0, "blocks": list(blocks)}

    first, again, other = loops.costs([recorded((1, 100)), recorded((1, 100)), recorded((201, 300))], 64)
    assert first == other == 10 * again


def test_honest_steps_differ() -> None:
    rng = Random(1)
    assert len({loops.honest(rng).arguments for _ in range(200)}) == 200
