"""Frames as they stand on a screen."""

from __future__ import annotations

import io

import pytest
from msgspec.structs import replace

from proxy.cli.table import Page
from proxy.cli.top_keys import SORTS, VIEWS, Look
from proxy.cli.top_state import State
from proxy.cli.top_view import Size, frame
from tests.proxy.cli.emulator import Emulator
from tests.proxy.cli.live_samples import BREAKER, PLANNER, SECOND, SNAPSHOT
from tests.proxy.cli.test_budgets import ROW as BUDGET

PLAIN = Page(io.StringIO())
TERMINAL = Page(Emulator())  # type: ignore[arg-type]  # it is asked whether it is a terminal, no more
STATE = State(SNAPSHOT, replace(SNAPSHOT, at_ms=SNAPSHOT.at_ms - 60_000, agents=[]), (BUDGET,))
WIDE = Size(200, 40)


def shown(look: Look, state: State = STATE, size: Size = WIDE, page: Page = PLAIN) -> list[str]:
    return [line.text for line in frame(state, look, size, page)]


def table(look: Look, state: State = STATE) -> list[list[str]]:
    """Without the head and the foot."""
    lines = shown(look, state)
    tabs = next(at for at, line in enumerate(lines) if "1 agents" in line)
    return [line.split() for line in lines[tabs + 1 : -1] if line]


def test_the_head_has_pace_time_money_and_what_is_out() -> None:
    text = "\n".join(shown(Look()))
    assert "23:42:12 UTC, up 90.00s   4.0 calls/s, 2 in flight, 1 waiting" in text
    assert "first token p50 0.20s, p95 0.80s   $3.6000/hour, spent $0.002000, saved $0.005000" in text
    assert "109 calls, 1 failed, 2 refused, 3 hedges" in text
    assert "agent:planner usd/day   83%   -$0.500000 of $5.0000 left, on the rung shorter" in text
    assert "out: up/small" in text
    assert "breaker: target up/small, state open" in text


def test_a_terminal_gets_bars_and_a_pipe_none() -> None:
    assert "█" in "\n".join(shown(Look(), page=TERMINAL))
    assert "\n".join(shown(Look())).isascii()


@pytest.mark.parametrize(
    ("view", "first"),
    [
        ("agents", ["planner", "10.0"]),
        ("routes", ["small", "0.0"]),
        ("targets", ["up/small", "out", "3", "0.0"]),
        ("runs", ["trip-1", "team:red", "planner", "trip-0", "0.0"]),
        ("requests", ["2026-11-22T13:40:50.201Z", "planner", "trip-1"]),
    ],
)
def test_each_view_has_its_rows(view: str, first: list[str]) -> None:
    look = Look(view=view, sort="name")  # type: ignore[arg-type]  # the five of them
    rows = table(look)
    wanted = next(row for row in rows if row[0] == first[0])
    assert wanted[: len(first)] == first


def test_a_row_says_what_there_is_to_know() -> None:
    row = next(row for row in table(Look()) if row[0] == "planner")
    assert " ".join(row) == "planner 10.0 $0.120000 $0.002000 1 2 0.25s 1.50s 10 25% 20k 900 5s ago"


@pytest.mark.parametrize(
    ("sort", "first"),
    [("cost", "planner"), ("calls", "writer"), ("failed", "planner"), ("first token", "planner"), ("name", "planner")],
)
def test_the_order_is_the_one_that_was_asked_for(sort: str, first: str) -> None:
    assert table(Look(sort=sort))[1][0] == first  # type: ignore[arg-type]


def test_a_filter_and_hedged_alone_leave_the_rest_out() -> None:
    assert [row[0] for row in table(Look(filter="WRI"))[1:]] == ["writer"]
    assert [row[0] for row in table(Look(view="runs", filter="trip-0"))[1:]] == ["trip-1"]
    assert [row[0] for row in table(Look(view="targets", hedged=True))[1:]] == ["up/small"]
    assert [row[-1] for row in table(Look(view="requests", hedged=True))[1:]] == ["late"]
    assert len(table(Look(view="requests"))) == 3


def test_calls_are_in_the_order_of_time_where_no_other_fits() -> None:
    dear = replace(SNAPSHOT.calls[1], request_id="dear", cost_usd_nanos=9_000_000)
    now = replace(SNAPSHOT, calls=[*SNAPSHOT.calls, dear])
    state = State(now, now)
    assert [row[-1] for row in table(Look(view="requests"), state)[1:]] == ["late", "early", "dear"]
    assert [row[-1] for row in table(Look(view="requests", sort="cost"), state)[1:]] == ["dear", "late", "early"]
    assert "latest first" in "\n".join(shown(Look(view="requests"), state))
    assert "by cost" in "\n".join(shown(Look(view="requests", sort="cost"), state))


@pytest.mark.parametrize("size", [Size(20, 5), Size(80, 24), Size(300, 100)])
def test_it_never_grows_beyond_the_screen(size: Size) -> None:
    many = replace(SNAPSHOT, agents=[replace(PLANNER, name=f"agent-{n}") for n in range(200)])
    for view in VIEWS:
        for sort in SORTS:
            lines = shown(Look(view=view, sort=sort), State(many, many, (BUDGET,)), size)
            assert len(lines) == size.lines
            assert max(map(len, lines)) <= size.columns


def test_names_of_clients_cannot_steer_the_terminal() -> None:
    event = replace(BREAKER, fields={"why": "\x1b[2J\n"})
    bad = replace(SNAPSHOT, agents=[replace(PLANNER, name="\x1b[2J\nbad")], events=[event])
    text = "\n".join(shown(Look(), State(bad, bad), page=TERMINAL))
    assert "\x1b" not in text and "\\x1b[2J\\nbad" in text


def test_a_gate_that_has_done_nothing_has_a_frame_too() -> None:
    empty = replace(SNAPSHOT, agents=[], calls=[], events=[], series=[])
    assert shown(Look(), State(empty, empty))[1].startswith("first token p50 -, p95 -   $0.00/hour")


def test_the_calls_of_a_minute_are_a_line_of_bars() -> None:
    rising = replace(SNAPSHOT, series=[replace(SECOND, calls=count) for count in range(8)])
    assert "▁▂▃▄▅▆▇█" in "\n".join(shown(Look(), State(rising, rising), page=TERMINAL))
