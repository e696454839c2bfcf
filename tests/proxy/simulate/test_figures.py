"""Figures of a simulated day, and when two days differ."""

from __future__ import annotations

from pathlib import Path

from loadtests.replay.recorded import Run
from proxy.config.tree import Value
from proxy.simulate.figures import Spread, compared, difference, figures
from proxy.simulate.target import Quality
from proxy.simulate.virtual import run
from proxy.simulate.world import Lived, Setting, lived
from tests.proxy.simulate.samples import config, runs

CASCADE: Value = {"mode": "cascade", "steps": ["a/small", "b/large"]}


def day(folder: Path, quality: Quality | None = None, trace: list[Run] | None = None, **models: Value) -> Lived:
    setting = Setting(quality=quality or Quality())
    return run(lived(config(**models), trace or runs(), setting, folder=folder, step=lambda: None))


def test_a_day_in_figures(tmp_path: Path) -> None:
    quality = Quality({"small": 0.5}, seen=1.0)
    found = figures(day(tmp_path, quality, runs(200, 1), m=CASCADE))
    assert (found.calls, found.answered, found.good, found.unpriced) == (200, 1.0, 1.0, 0)
    assert found.served_by == {"cascade": 1.0}
    assert abs(found.escalated - 0.5) < 0.1
    assert found.attempts_a_call == 1 + found.escalated
    assert found.targets["b/large"] == found.escalated
    assert found.usd_a_good_answer == found.usd / 200
    assert found.run_s.p50 is not None
    assert found.duration_s.p50 is not None
    assert found.run_s.p50 > found.duration_s.p50 > 2.0


def test_the_same_configuration_twice_shows_no_difference(tmp_path: Path) -> None:
    found = compared(day(tmp_path / "a"), day(tmp_path / "b"))
    assert (found.usd.mean, found.usd.verdict) == (0.0, "no difference shown")
    assert found.good_at_equal_cost == 1.0


def test_what_is_cheaper_and_worse_is_said_to_be_both(tmp_path: Path) -> None:
    quality = Quality({"small": 0.3})
    found = compared(day(tmp_path / "a", quality), day(tmp_path / "b", quality, m="a/small"))
    assert (found.usd.verdict, found.good.verdict) == ("less", "less")
    assert found.good_at_equal_cost is not None
    assert 2 < found.good_at_equal_cost < 5, "a tenth of the price, a third of the answers"


def test_a_difference_is_shown_once_its_interval_is_on_one_side() -> None:
    assert difference([1.0, 1.0, 1.0]).verdict == "more"
    assert difference([-1.0, -2.0, -1.0, -2.0]).verdict == "less"
    assert difference([-1.0, 1.2, -1.0, 1.2]).verdict == "no difference shown"
    assert difference([5.0]).verdict == "no difference shown", "one pair says nothing"
    found = difference([0.0, 2.0])
    assert (found.mean, round(found.high - found.mean, 4)) == (1.0, 1.96)


def test_calls_without_an_answer_are_counted_by_their_error(tmp_path: Path) -> None:
    found = figures(day(tmp_path, m="a/nameless"))
    assert (found.answered, found.good, found.usd, found.usd_a_good_answer) == (0.0, 0.0, 0.0, None)
    assert found.errors == {"unpriced_model": 40}
    assert found.first_event_s == Spread(None, None, None)
