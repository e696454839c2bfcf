"""Attempts in the order of the ledger, each once whatever the pages; corrections and lost calls beside them."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.state import events
from proxy.state.events import Adjusted, Change, Event, Expired
from proxy.state.export import answers, attempts, known, unresolved
from proxy.state.ledger_insert import Item, insert
from proxy.state.ledger_report import AttemptRow
from proxy.state.ledger_schema import SCHEMA
from proxy.types import Charge, Outcome, Period, Usage
from tests.proxy.state.samples import attempt, call, outcome, outcomes, refused

DAY = Period("agent:a", "usd", "day", 7, "agent:a")
TOKENS = Period("agent:a", "tokens", "day", 7, "agent:a")
AT_MS = 1_700_000_000_000


def ledger(*items: Item) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    insert(connection, 1, items)
    return connection


def every(connection: sqlite3.Connection, limit: int, provider: str | None = None) -> list[AttemptRow]:
    found: list[AttemptRow] = []
    after: int | None = 0
    while after is not None:
        page = attempts(connection, after, limit=limit, provider=provider)
        found += page.rows
        after = page.after
    return found


def adjusted(request: str, number: int | None, usd_nanos: int) -> Event:
    return Event(AT_MS, "adjust", request, events.text(Adjusted("line-1", "bill.csv", number, usd_nanos, ())))


def lost(request: str, usd_nanos: int, *, wall: float | None = 1_700_000_000.0) -> Event:
    change = Change("agent:a", "usd", "day", 7, "agent:a", unresolved=usd_nanos)
    return Event(AT_MS + 5_000, "expire", request, events.text(Expired("crash", ("agent:a",), wall, (change,))))


@given(st.lists(outcomes() | outcomes().map(lambda done: Event(1, "run", "r", "{}")), max_size=10), st.integers(1, 4))
def test_every_attempt_comes_once_and_in_order_whatever_the_pages(items: list[Item], limit: int) -> None:
    found = every(ledger(*items), limit)
    calls = [(seq, done) for seq, done in enumerate(items, 1) if isinstance(done, Outcome)]
    tries = [(seq, tried.number, tried.cost_usd_nanos) for seq, done in calls for tried in done.attempts]
    assert [(row.seq, row.number, row.cost_usd_nanos) for row in found] == tries


def test_a_row_says_whose_it_was_and_what_it_cost() -> None:
    (row,) = every(ledger(outcome(call(run="r"), attempt(usage=Usage(input_uncached=3, output=4)))), 10)
    assert (row.request_id, row.agent, row.run, row.target, row.upstream_model) == (
        "req-1",
        "a",
        "r",
        "up/model",
        "model",
    )
    assert (row.input_uncached, row.output, row.cost_usd_nanos, row.adjusted_usd_nanos) == (3, 4, 1_000, 0)
    assert (row.at, row.price_id, row.usage_source) == ("2023-11-14T22:13:20.000Z", "test", "reported")


def test_only_calls_of_the_time_and_the_provider_that_were_asked_for() -> None:
    connection = ledger(*(outcome(call(str(at), at_s=at), attempt("p/m" if at % 2 else "q/m")) for at in range(6)))
    page = attempts(connection, since_ms=AT_MS + 2_000, until_ms=AT_MS + 5_000)
    assert [row.request_id for row in page.rows] == ["2", "3", "4"]
    assert (page.since_ms, page.until_ms, page.after) == (AT_MS + 2_000, AT_MS + 5_000, None)
    assert [row.request_id for row in every(connection, 2, "p")] == ["1", "3", "5"]


def test_calls_without_attempts_do_not_end_the_pages() -> None:
    connection = ledger(refused(call("a")), refused(call("b")), outcome(call("c")))
    assert [row.request_id for row in every(connection, 2)] == ["c"]


def test_corrections_stand_beside_the_attempt_they_are_about() -> None:
    two = outcome(call("x"), attempt(), attempt(number=2))
    other = Event(AT_MS, "adjust", "x", '{"why":"overrun","changes":[]}')
    connection = ledger(two, adjusted("x", 2, 500), adjusted("x", 2, -700), adjusted("y", 1, 9), other)
    assert [row.adjusted_usd_nanos for row in every(connection, 5)] == [0, -200]


def test_what_is_known_of_an_attempt_is_its_cost_as_corrected_and_the_windows_it_was_charged_to() -> None:
    done = replace(outcome(call("x")), charges=(Charge(DAY, 1_000), Charge(TOKENS, 15)))
    connection = ledger(done, adjusted("x", 1, 500))
    found = known(connection, [("x", 1), ("x", 2), ("nobody", 1), ("x", None)])
    assert list(found) == [("x", 1)]
    assert (found["x", 1].usd_nanos, found["x", 1].periods, found["x", 1].held) == (1_500, (DAY,), ())


def test_an_unpriced_attempt_counts_as_nothing() -> None:
    assert known(ledger(outcome(call("x"), attempt(cost=None))), [("x", 1)])["x", 1].usd_nanos == 0


def test_a_lost_call_is_open_until_it_is_resolved() -> None:
    connection = ledger(lost("x", 900))
    (held,) = known(connection, [("x", None)])["x", None].held
    assert (held.period, held.unresolved) == (DAY, 900)
    insert(connection, 2, [adjusted("x", None, 300)])
    resolved = known(connection, [("x", None)])["x", None]
    assert (resolved.usd_nanos, resolved.held, resolved.periods) == (300, (), (DAY,))


def test_an_overrun_booked_later_resolves_nothing() -> None:
    late = Event(AT_MS, "adjust", "x", '{"why":"overrun","changes":[]}')
    connection = ledger(lost("x", 900), late)
    assert [row.request_id for row in unresolved(connection).rows] == ["x"]


@pytest.mark.parametrize(("wall", "at_ms"), [(1_700_000_000.0, AT_MS), (None, AT_MS + 5_000)])
def test_lost_calls_are_listed_with_what_was_held(wall: float | None, at_ms: int) -> None:
    connection = ledger(lost("x", 900, wall=wall), lost("free", 0), lost("done", 5), adjusted("done", None, 0))
    (row,) = unresolved(connection).rows
    assert (row.request_id, row.at_ms, row.usd_nanos) == ("x", at_ms, 900)
    assert unresolved(connection, at_ms + 1).rows == [] and unresolved(connection, None, at_ms).rows == []


def test_whole_answers_are_told_with_what_had_been_thought_of_their_input() -> None:
    broken = replace(attempt(), error_code="upstream_stalled")
    connection = ledger(
        outcome(call("1"), attempt(usage=Usage(input_uncached=7, output=3))),
        outcome(call("2"), broken),
        outcome(call("3", agent="b")),
        outcome(call("4"), attempt(usage=Usage(output=9, source="estimated"))),
    )
    seen = answers(connection, "a", "smart")
    assert [(each.target, each.input_tokens_estimate, each.usage.output, each.usage.source) for each in seen] == [
        ("up/model", 100, 3, "reported"),
        ("up/model", 100, 9, "estimated"),
    ]
    assert answers(connection, "a", "other") == []
