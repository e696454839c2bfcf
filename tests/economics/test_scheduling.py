"""The scheduling section: the line of a target decides who goes, and nobody is lost on the way."""

from __future__ import annotations

import pytest

from loadtests.replay.families import families
from loadtests.replay.traces import AgentRun, Step
from tests.economics.scheduling import play

STEP = Step(20_480, 200, (1, 2, 3), 1.0)


@pytest.mark.parametrize("by_arrival", [True, False])
def test_every_run_comes_to_its_end(*, by_arrival: bool) -> None:
    runs = families([AgentRun(number, (STEP,) * 20) for number in range(60)], 1, fan_outs=0.5, short=0.5)
    lasted = play(runs, 1, 100.0, by_arrival=by_arrival)
    assert lasted.runs == 60
    assert 0.0 < lasted.median_s < lasted.p99_s
    assert lasted.waited_s > 1.0
    assert 0.0 < lasted.short_s < lasted.p99_s


def test_short_runs_pass_long_ones_and_the_same_twice_is_the_same() -> None:
    runs = families([AgentRun(number, (STEP,) * 60) for number in range(50)], 2, fan_outs=0.0, short=0.6)
    by_arrival, least_first = [play(runs, 1, 300.0, by_arrival=each) for each in (True, False)]
    assert least_first.short_s < 0.7 * by_arrival.short_s
    assert play(runs, 1, 300.0, by_arrival=False) == least_first
