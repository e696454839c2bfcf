from __future__ import annotations

import sqlite3

import pytest
from msgspec.structs import replace

from proxy.errors import ProxyError
from proxy.state.events import Change, Checkpoint, Event, TopUp, change, text
from proxy.state.fold import Fold, Sums, ended, fold, topups
from proxy.state.ledger_insert import Item, insert
from proxy.state.ledger_schema import SCHEMA
from proxy.types import Charge, Outcome, Period
from tests.proxy.state.samples import call, outcome

DAY = Period("key:k", "usd", "day", 20_000, "key:k")
RUN = Period("run:r", "tokens", "run", 0, "agent:a")


def charged(*charges: Charge, id: str = "r") -> Outcome:
    return replace(outcome(call(id)), charges=charges)


def event(kind: str, body: object, subject: str = "") -> Event:
    return Event(1, kind, subject, text(body))


def checkpoint(set: int, *balances: Change, through: int | None = None, last: bool = True) -> Event:
    return event("checkpoint", Checkpoint(set, set if through is None else through, last, balances))


def file_of(*items: Item) -> sqlite3.Connection:
    file = sqlite3.connect(":memory:", isolation_level=None)
    file.executescript(SCHEMA)
    insert(file, 1, items)
    return file


def folded(*items: Item) -> Fold:
    return fold(file_of(*items))


def test_a_balance_is_the_sum_of_charges_and_changes() -> None:
    found = folded(
        charged(Charge(DAY, 10, 3), Charge(RUN, 5)),
        outcome(),
        charged(Charge(DAY, 4)),
        event("topup", TopUp("id", "usd", 50, (change(DAY, granted=50, forgiven=3),))),
        event("expire", {"changes": (change(DAY, unresolved=6),)}),
        event("adjust", {"changes": (change(DAY, spent=-2),)}),
        event("unresolved", {"changes": (change(DAY, unresolved=-1, spent=1),)}),
    )
    assert found.balances == {DAY: Sums(10, 3, 5, 50, 3), RUN: Sums(5)}
    assert found.since == 0


def test_events_of_other_kinds_count_for_nothing_whatever_they_say() -> None:
    assert folded(event("run", {"changes": (change(DAY, spent=1),)}), event("limit", {"percent": 50})).balances == {}


def test_rows_up_to_a_checkpoint_are_not_counted_again() -> None:
    found = folded(charged(Charge(DAY, 10)), checkpoint(1, change(DAY, spent=10)), charged(Charge(DAY, 1)))
    assert (found.since, found.balances) == (1, {DAY: Sums(11)})


def test_a_row_between_the_sum_and_its_checkpoint_counts() -> None:
    found = folded(charged(Charge(DAY, 10)), charged(Charge(DAY, 5)), checkpoint(1, change(DAY, spent=10)))
    assert found.balances == {DAY: Sums(15)}


def test_each_part_of_a_checkpoint_stands_for_its_own_instant() -> None:
    """The first part was taken after row 1; then DAY and RUN were charged; then the second part was taken."""
    found = folded(
        charged(Charge(DAY, 10), Charge(RUN, 1)),
        charged(Charge(DAY, 5), Charge(RUN, 2)),
        checkpoint(1, change(DAY, spent=10), last=False),
        checkpoint(1, change(RUN, spent=3), through=2),
    )
    assert found.balances == {DAY: Sums(15), RUN: Sums(3)}


def test_a_set_that_was_not_brought_to_its_end_is_no_checkpoint() -> None:
    found = folded(
        charged(Charge(DAY, 10)),
        checkpoint(1, change(DAY, spent=10)),
        charged(Charge(DAY, 5)),
        checkpoint(3, change(DAY, spent=999), last=False),
    )
    assert (found.since, found.balances) == (1, {DAY: Sums(15)})


def test_only_the_last_set_is_read() -> None:
    found = folded(checkpoint(0, change(RUN, spent=7)), charged(Charge(DAY, 1)), checkpoint(2, change(DAY, spent=1)))
    assert (found.since, found.balances) == (2, {DAY: Sums(1)})


def test_it_can_be_asked_for_some_periods_up_to_a_row_each() -> None:
    file = file_of(charged(Charge(DAY, 1), Charge(RUN, 1)), charged(Charge(DAY, 2), Charge(RUN, 2)))
    assert fold(file, {DAY: 1}).balances == {DAY: Sums(1)}
    assert fold(file, {DAY: 1, RUN: 2}).balances == {DAY: Sums(1), RUN: Sums(3)}


def test_a_call_has_ended_when_it_has_a_row_or_its_hold_expired() -> None:
    file = file_of(
        outcome(call("row")), event("expire", {}, "gone"), event("unresolved", {}, "open"), event("run", {}, "named")
    )
    assert ended(file, ["row", "gone", "open", "named", "never"]) == {"row", "gone", "open"}
    assert ended(file, [f"{n}" for n in range(1_200)] + ["row"]) == {"row"}


def test_top_ups_are_known_by_their_ids_the_oldest_first() -> None:
    bodies = [TopUp(f"id-{n}", "usd", n, (change(DAY, granted=n),)) for n in (1, 2)]
    assert topups(file_of(*[event("topup", body, "key:k") for body in bodies])) == bodies


@pytest.mark.parametrize("kind", ["checkpoint", "topup"])
def test_a_body_that_cannot_be_read_is_refused_with_its_row(kind: str) -> None:
    with pytest.raises(ProxyError, match=r"row 2 .* damaged .* backup"):
        fold(file_of(outcome(), Event(1, kind, "", '{"changes": 5}')))


def test_reading_begins_at_the_checkpoint() -> None:
    file = file_of(charged(Charge(DAY, 1)), checkpoint(1, change(DAY, spent=1)), charged(Charge(DAY, 1)))
    asked: list[str] = []
    file.set_trace_callback(asked.append)
    fold(file)
    assert [query for query in asked if "FROM outcome" in query] == [
        "SELECT seq, charges FROM outcome WHERE seq > 1 AND charges IS NOT NULL"
    ]
