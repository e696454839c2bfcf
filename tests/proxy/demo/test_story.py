from __future__ import annotations

import pytest

from proxy.demo.story import OUTAGE_LEAST_S, RUNAWAY_LEAST_S, story


@pytest.mark.parametrize("seconds", [5.0, 6.0, 20.0, 60.0, 600.0])
def test_every_length_tells_the_whole_story(seconds: float) -> None:
    told = story(seconds)
    assert [(window.provider, window.kind) for window in told.windows] == [("west", "slow"), ("east", "down")]
    assert all(0 < window.begins_s < window.ends_s < seconds for window in told.windows)
    assert [phase.name for phase in told.phases] == ["normal", "slow", "down", "healed"]


@pytest.mark.parametrize("seconds", [5.0, 6.0, 20.0, 60.0, 600.0])
def test_an_agent_runs_away_when_the_providers_are_well_again(seconds: float) -> None:
    told = story(seconds)
    span = told.runaway
    assert span.ends_s - span.begins_s >= RUNAWAY_LEAST_S
    assert span.ends_s <= seconds
    assert seconds < 10 or span.begins_s > max(window.ends_s for window in told.windows)


def test_the_script_grows_with_the_demo() -> None:
    for short, long in zip(story(60.0).windows, story(120.0).windows, strict=True):
        assert (long.begins_s, long.ends_s) == (2 * short.begins_s, 2 * short.ends_s)


def test_an_outage_is_always_longer_than_two_retries_take() -> None:
    (outage,) = [window for window in story(5.0).windows if window.kind == "down"]
    assert outage.ends_s - outage.begins_s == OUTAGE_LEAST_S
    assert outage.share == 1.0


def test_a_provider_is_well_outside_its_windows() -> None:
    told = story(60.0)
    assert told.window("east", 23.9) is None
    down = told.window("east", 24.0)
    assert down is not None and down.kind == "down"
    assert told.window("east", 42.0) is None
    assert told.window("west", 30.0) is None


def test_a_chapter_lasts_as_long_as_its_fault_and_the_last_one_for_ever() -> None:
    told = story(60.0)
    for window in told.windows:
        assert told.phase(window.begins_s) == told.phase(window.ends_s - 0.01) == window.kind
        assert told.phase(window.begins_s - 0.01) != window.kind != told.phase(window.ends_s)
    assert (told.phase(-0.01), told.phase(0.0), told.phase(1e6)) == ("normal", "normal", "healed")
