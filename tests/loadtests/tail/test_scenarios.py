"""The scenarios can be played without any trace, and what is measured of them is what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.replay.traces import CONVERSATION
from loadtests.tail import traces
from loadtests.tail.play import Played
from loadtests.tail.report import misses, spread, table
from loadtests.tail.scenarios import Goal, Scenario, amplification, back_s, less_than, ratio, recovery_s, scenarios
from loadtests.tail.upstreams import Request
from tests.conftest import TRACES


def test_without_traces_there_is_traffic_of_the_same_shape() -> None:
    found = scenarios(1, None)
    assert len({scenario.name for scenario in found}) == len(found) == 9
    assert all(len(scenario.requests) >= 10_000 for scenario in found)
    for scenario in found:
        arrivals = [request.at for request in scenario.requests]
        assert arrivals == sorted(arrivals)
        assert [request.number for request in scenario.requests] == list(range(len(arrivals)))
    assert "made-up" in found[2].about
    first, again, other = (scenarios(seed, None, 100)[0].requests for seed in (1, 1, 2))
    assert [request.at for request in first] == [request.at for request in again]
    assert other[0] != first[0]


def test_made_up_talks_share_their_beginnings() -> None:
    requests = traces.conversation(None, 1)
    seen: set[int] = set()
    repeated = total = 0
    for request in requests:
        repeated += sum(block in seen for block in request.blocks)
        total += len(request.blocks)
        seen.update(request.blocks)
    assert 0.3 < repeated / total < 0.95


@pytest.mark.skipif(
    not (TRACES / traces.SESSIONS).exists(), reason=f"set HEADGATE_TRACES to where {traces.SESSIONS} is"
)
def test_recorded_agents_are_grouped_by_model_and_octave_of_output() -> None:
    medians, slowdowns = traces.agents(TRACES, 1)
    assert len(medians) >= 10
    assert all(len(times) >= traces.GROUP_LEAST for times in slowdowns.values())
    assert 20_000 < sum(map(len, slowdowns.values())) < 22_000
    assert all(sorted(times)[len(times) // 2] == pytest.approx(1.0, rel=0.05) for times in slowdowns.values())


@pytest.mark.skipif(not (TRACES / CONVERSATION).exists(), reason=f"no {CONVERSATION} in HEADGATE_TRACES")
def test_recorded_conversations_are_read_whole(tmp_path: Path) -> None:
    requests = traces.conversation(TRACES, 1)
    assert len(requests) == 12_031
    assert sum(request.tokens for request in requests) / len(requests) == pytest.approx(12_035, abs=1)
    assert traces.conversation(tmp_path, 1) == traces.conversation(None, 1), "a folder without it is no folder"


def played(times: list[float], requests: int | None = None, **more: list[object]) -> Played:
    return Played(requests or len(times), took=times, seconds=times, **more)  # type: ignore[arg-type]


def test_figures_are_of_what_they_say() -> None:
    times = [1.0] * 980 + [5.0] * 15 + [20.0] * 5
    assert (played(times).quantile(0.5), played(times).quantile(0.99), played(times).quantile(0.999)) == (1, 5, 20)
    assert ratio(0.99)(played(times), {}) == 5.0
    assert less_than("base", 0.999)(played([1.0, 2.0]), {"base": played([1.0, 8.0])}) == 0.25
    told = played([1.0], asked=[(10.0, 0), (70.0, 0), (70.1, 1), (119.0, 0), (120.0, 1)], failed_at=[70.0, 123.5])
    assert amplification(60.0, 120.0)(told, {}) == pytest.approx(3 / 2400)
    assert recovery_s(120.0)(told, {}) == 3.5
    returned = [(100.0 + second / 2, 1) for second in range(40)] + [(108.2 + step / 10, 0) for step in range(100)]
    assert back_s(100.0)(played([1.0], asked=sorted(returned)), {}) == pytest.approx(4, abs=1)
    assert back_s(100.0)(played([1.0], asked=[(at, 1) for at, _ in returned]), {}) == float("inf")


def test_the_table_names_every_side_and_every_target_and_judges_the_last() -> None:
    goals = (Goal("p99/p50", ratio(0.99), "<=", 3.0, 1), Goal("success", lambda of, _: of.success, ">=", 0.99))
    scenario = Scenario("s", "about", [Request(0, 0.0)], lambda: None, goals)  # type: ignore[arg-type,return-value]
    both = {"base": played([1.0] * 100), "gate": played([1.0] * 97 + [9.0] * 3)}
    told = table(scenario, both)
    assert misses(scenario, both) == ["p99/p50"]
    lines = told.splitlines()
    assert lines[0] == "s: about"
    assert [line.split()[0] for line in lines[1:]] == ["side", "base", "gate", "target", "reached"]
    assert "<= 3" in lines[-2] and "no" in lines[-1] and "yes" in lines[-1]
    assert "never" in table(scenario, {"gate": played([], 3)})


def test_over_several_seeds_each_goal_has_a_mean_a_spread_and_the_seeds_that_reach_it() -> None:
    goals = (Goal("p99/p50", ratio(0.99), "<=", 3.0, 1),)
    scenario = Scenario("s", "about", [Request(0, 0.0)], lambda: None, goals)  # type: ignore[arg-type,return-value]
    plays = [{"gate": played([1.0] * 97 + [late] * 3)} for late in (2.0, 2.5, 4.5)]
    head, names, gate = spread(scenario, plays).splitlines()
    assert head.endswith("3 seeds") and "p99/p50 <= 3" in names
    assert gate.split() == ["gate", "3.00", "+-1.08", "2"]
