from __future__ import annotations

from msgspec.structs import replace

from proxy.cli.top_state import CALLS_MAX, SERIES_MAX, History, State, folded
from tests.proxy.cli.live_samples import BREAKER, PLANNER, SNAPSHOT, WRITER, delta
from tests.proxy.cli.test_requests import ROW


def test_nothing_is_shown_before_the_first_snapshot() -> None:
    assert folded(None, delta()) is None
    assert folded(None, BREAKER) is None
    assert folded(None, SNAPSHOT) is SNAPSHOT


def test_a_row_replaces_the_one_of_its_name_and_comes_first() -> None:
    more = replace(WRITER, calls=100)
    now = folded(SNAPSHOT, delta(1, more))
    assert now is not None
    assert now.agents == [more, PLANNER]
    assert (now.routes, now.at_ms) == (SNAPSHOT.routes, SNAPSHOT.at_ms + 1_000)


def test_a_snapshot_in_between_starts_anew() -> None:
    now = folded(folded(SNAPSHOT, delta(1, WRITER)), replace(SNAPSHOT, agents=[]))
    assert now is not None and now.agents == []


def test_calls_events_and_seconds_come_on_top_and_are_bounded() -> None:
    now = SNAPSHOT
    for second in range(1, SERIES_MAX + 10):
        after = folded(now, delta(second, calls=[replace(ROW, request_id=str(second))]))
        after = folded(after, replace(BREAKER, at_ms=second))
        assert after is not None
        now = after
    assert (len(now.calls), len(now.series), len(now.events)) == (CALLS_MAX, SERIES_MAX, 50)
    assert now.calls[0].request_id == str(SERIES_MAX + 9)
    assert now.events[0].at_ms == SERIES_MAX + 9
    assert now.series[-1].at_ms > now.series[0].at_ms


def test_what_is_recent_is_the_difference_to_a_minute_ago() -> None:
    history, now = History(), SNAPSHOT
    history.past(now)
    for second in range(1, 31):
        row = replace(PLANNER, calls=10 + second, cost_usd_nanos=2_000_000 + second * 1_000_000)
        after = folded(now, delta(second, row))
        assert after is not None
        now = after
        past = history.past(now)
    recent = State(now, past).recent("agents")
    assert recent["planner"].calls_a_minute == 60
    assert recent["planner"].usd_nanos_an_hour == 3_600 * 1_000_000
    assert recent["writer"].calls_a_minute == 0


def test_the_past_is_a_minute_old_at_most() -> None:
    history = History()
    for second in range(300):
        now = replace(SNAPSHOT, at_ms=SNAPSHOT.at_ms + second * 1_000)
        past = history.past(now)
    assert 55_000 <= now.at_ms - past.at_ms <= 65_000


def test_a_restart_of_the_gate_makes_nothing_negative() -> None:
    less = replace(SNAPSHOT, agents=[replace(PLANNER, calls=1, cost_usd_nanos=0)])
    assert State(less, SNAPSHOT).recent("agents")["planner"].calls_a_minute == 0
