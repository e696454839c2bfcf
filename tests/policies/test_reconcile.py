"""A bill and a ledger, brought together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policies.reconcile import DAY_S, HOUR_S, BillRow, LedgerRow, reconcile

CENT = 10_000_000


def ours(
    id: str, usd_nanos: int, at_wall: float = 0.0, *, request: str | None = None, guess: bool = False
) -> LedgerRow:
    return LedgerRow(id, "p", "m", at_wall, usd_nanos, request, guess)


def theirs(usd_nanos: int, at_wall: float = 0.0, *, request: str | None = None, span_s: int = DAY_S) -> BillRow:
    return BillRow("p", "m", at_wall, usd_nanos, request, span_s)


def kinds(*findings: object) -> list[tuple[str, int, int]]:
    return [(found.kind, found.ledger_usd_nanos, found.bill_usd_nanos) for found in findings]  # type: ignore[attr-defined]


def test_requests_that_both_know_are_matched_by_their_id() -> None:
    done = reconcile(
        [ours("a", CENT, request="r1"), ours("b", 2 * CENT, request="r2")],
        [theirs(2 * CENT, request="r2"), theirs(CENT, request="r1")],
    )
    assert sorted(kinds(*done.findings)) == [("matched", CENT, CENT), ("matched", 2 * CENT, 2 * CENT)]
    assert done.unexplained_share == 0


def test_a_lost_row_and_a_row_nobody_billed_are_found() -> None:
    done = reconcile([ours("a", CENT, request="r1")], [theirs(CENT, request="r9")])
    assert sorted(kinds(*done.findings)) == [("bill_only", 0, CENT), ("ledger_only", CENT, 0)]
    assert done.unexplained_usd_nanos == 2 * CENT
    assert done.unexplained_share == 2.0


def test_a_difference_of_an_estimate_is_explained_and_shown() -> None:
    done = reconcile([ours("a", 3 * CENT, request="r1", guess=True)], [theirs(2 * CENT, request="r1")])
    (found,) = done.findings
    assert (found.kind, found.difference_usd_nanos, done.unexplained_usd_nanos) == ("estimated", -CENT, 0)


def test_a_difference_without_a_reason_is_not_explained() -> None:
    done = reconcile([ours("a", CENT, request="r1")], [theirs(2 * CENT, request="r1")])
    assert [found.kind for found in done.findings] == ["different"]
    assert done.unexplained_share == 0.5


def test_a_bill_of_days_is_matched_by_model_and_day() -> None:
    rows = [ours("a", CENT, 10), ours("b", CENT, DAY_S - 1), ours("c", CENT, DAY_S)]
    done = reconcile(rows, [theirs(2 * CENT), theirs(CENT, DAY_S)])
    assert sorted(found.ids for found in done.findings) == [("a", "b"), ("c",)]
    assert all(found.kind == "matched" for found in done.findings)


def test_hours_come_before_days() -> None:
    rows = [ours("a", CENT, 10), ours("b", CENT, HOUR_S + 10)]
    done = reconcile(rows, [theirs(CENT, 0, span_s=HOUR_S), theirs(CENT, 0)])
    assert sorted(found.ids for found in done.findings) == [("a",), ("b",)]


def test_rounding_of_the_bill_is_no_difference() -> None:
    done = reconcile([ours("a", 12_345_678, request="r")], [theirs(12_350_000, request="r")])
    assert done.tally("matched").rows == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.sampled_from([None, "r1", "r2"]), st.integers(0, 3 * DAY_S)), max_size=12
    ),
    st.lists(
        st.tuples(st.integers(0, 100), st.sampled_from([None, "r1", "r3"]), st.integers(0, 3 * DAY_S)), max_size=12
    ),
)
def test_no_money_of_either_side_is_lost_or_counted_twice(
    one: list[tuple[int, str | None, int]], other: list[tuple[int, str | None, int]]
) -> None:
    ledger = [ours(str(number), usd, at, request=request) for number, (usd, request, at) in enumerate(one)]
    bill = [theirs(usd, at, request=request, span_s=HOUR_S if usd % 2 else DAY_S) for usd, request, at in other]
    done = reconcile(ledger, bill)
    assert sum(found.ledger_usd_nanos for found in done.findings) == sum(row.usd_nanos for row in ledger)
    assert done.bill_usd_nanos == sum(line.usd_nanos for line in bill)
    ids = [id for found in done.findings for id in found.ids]
    assert sorted(ids) == sorted(row.id for row in ledger)
