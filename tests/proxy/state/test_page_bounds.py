"""No page looks at all of a large ledger: how far it came is said, and the next one goes on from there."""

from __future__ import annotations

import sqlite3

import pytest
from msgspec.structs import replace

from proxy.errors import ProxyError
from proxy.state import run_queries
from proxy.state.ledger_insert import insert
from proxy.state.ledger_queries import FILTERED_CALLS_MAX, USAGE_CALLS_MAX, requests, usage
from proxy.state.ledger_rows import entry
from proxy.state.ledger_schema import SCHEMA
from proxy.types import Outcome
from tests.proxy.state.samples import attempt, call, outcome

FAR = FILTERED_CALLS_MAX + 50
ALWAYS = ("1", list[str | int]())


def ledger(*parts: tuple[int, Outcome]) -> sqlite3.Connection:
    """Calls by the number that the ledger has given them; what lies between is events."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    for seq, one in parts:
        insert(connection, seq, [entry(one)], b"")
    return connection


def old_and_new(agent: str = "seldom") -> sqlite3.Connection:
    return ledger(
        (1, outcome(call("old", agent=agent, run="long-ago"))),
        (FAR, outcome(call("new", agent="often", run="now", at_s=3600.0))),
    )


def test_a_filter_that_nothing_near_fits_says_how_far_it_looked_and_finds_it_on_the_next_page() -> None:
    connection = old_and_new()
    first = requests(connection, {"agent": "seldom"}, 10, window=ALWAYS, before=None)
    assert (first.rows, first.before) == ([], FAR + 1 - FILTERED_CALLS_MAX)
    assert first.looked_back_to is not None and first.looked_back_to.endswith("Z")
    second = requests(connection, {"agent": "seldom"}, 10, window=ALWAYS, before=first.before)
    assert [row.request_id for row in second.rows] == ["old"]
    assert (second.before, second.looked_back_to) == (None, None)


def test_nothing_is_promised_where_nothing_older_can_fit() -> None:
    connection = old_and_new()
    began_ms = int(call().arrived_wall * 1000) + 600_000  # after the old call has ended
    page = requests(connection, {"agent": "seldom"}, 10, window=("o.at_ms >= ?", [began_ms]), before=None)
    assert (page.rows, page.before, page.looked_back_to) == ([], None, None)


def test_the_runs_of_one_agent_are_sought_in_the_same_steps() -> None:
    connection = old_and_new()
    first = run_queries.runs(connection, 10, agent="seldom", since_ms=None, before=None)
    assert (first.rows, first.before) == ([], FAR + 1 - FILTERED_CALLS_MAX)
    second = run_queries.runs(connection, 10, agent="seldom", since_ms=None, before=first.before)
    assert ([row.run for row in second.rows], second.before) == (["long-ago"], None)


def test_usage_adds_up_the_latest_calls_and_says_whether_there_are_more() -> None:
    near = (FAR - USAGE_CALLS_MAX + 1, outcome(call("near", agent="often"), attempt(cost=5)))
    last = (FAR, outcome(call("last", agent="often"), attempt(cost=7)))
    found = usage(ledger(near, last), "agent", None)
    assert [(row.key, row.calls, row.cost_usd_nanos) for row in found.rows] == [("often", 2, 12)]
    assert (found.looked_at, found.capped) == (2, False)
    found = usage(ledger((FAR - USAGE_CALLS_MAX, near[1]), last), "target", None)
    assert [(row.key, row.calls, row.cost_usd_nanos) for row in found.rows] == [("up/model", 1, 7)]
    assert (found.looked_at, found.capped) == (1, True)


def test_usage_since_then_leaves_older_calls_out_and_does_not_miss_them() -> None:
    old = replace(call("old"), arrived_wall=call().arrived_wall - 7200)
    since_ms = int(call().arrived_wall * 1000) - 60_000
    found = usage(ledger((1, outcome(old)), (FAR, outcome(call("last")))), "agent", since_ms)
    assert (found.looked_at, found.capped, len(found.rows)) == (1, False, 1)
    with pytest.raises(ProxyError, match="must be one of"):
        usage(ledger(), "moon", None)
