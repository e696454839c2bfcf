"""A bill and a ledger, brought together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.reconcile import (
    DAY_S,
    HOUR_S,
    LOST_S,
    BillRow,
    Finding,
    LedgerRow,
    Reconciliation,
    by_bill,
    reconcile,
    with_lost,
)

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


@pytest.mark.parametrize(("billed", "kind"), [(12, "estimated"), (8, "estimated"), (13, "different"), (7, "different")])
def test_a_guess_among_many_explains_a_difference_of_its_own_size(billed: int, kind: str) -> None:
    rows = [ours("a", 8 * CENT), ours("b", 2 * CENT, guess=True)]
    (found,) = reconcile(rows, [theirs(billed * CENT)]).findings
    assert found.kind == kind


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


# --- what comes of it


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9), st.integers(0, 10**7))
def test_a_figure_for_many_rows_is_divided_by_their_own_amounts_and_nothing_is_lost(
    own: list[int], billed: int
) -> None:
    found = Finding("different", "p", "m", sum(own), billed, tuple(map(str, range(len(own)))))
    shares = by_bill(found, {str(number): amount for number, amount in enumerate(own)})
    assert sum(usd for _, usd in shares) == billed
    for (_, usd), amount in zip(shares, own, strict=True):
        exact = billed * amount / sum(own) if sum(own) else billed / len(own)
        assert abs(usd - exact) <= 1


def lost(*, at: float = 0.0, held: int = CENT) -> Reconciliation:
    """A ledger that does not know request r9, and a call that a crash has swallowed."""
    done = reconcile([], [theirs(CENT // 2, 100.0, request="r9")])
    return with_lost(done, [LedgerRow("gone", "", "", at, held)])


def test_a_line_that_only_the_bill_has_explains_a_lost_call() -> None:
    (found,) = lost().findings
    assert (found.kind, found.ids, found.bill_usd_nanos) == ("unresolved", ("gone",), CENT // 2)
    assert lost().unexplained_usd_nanos == 0


@pytest.mark.parametrize(
    ("at", "held"),
    [(101.0, CENT), (100.0 - LOST_S - 1, CENT), (0.0, CENT // 2 - 1)],
    ids=["later", "long before", "less"],
)
def test_a_line_that_cannot_be_the_lost_call_stays_unexplained(at: float, held: int) -> None:
    (found,) = lost(at=at, held=held).findings
    assert found.kind == "bill_only"


def test_each_lost_call_is_given_one_line_and_each_line_to_one_call() -> None:
    done = reconcile([], [theirs(CENT, at, request=str(at)) for at in (10.0, 20.0, 30.0)])
    holds = [LedgerRow(id, "", "", at, CENT) for id, at in (("b", 15.0), ("a", 5.0))]
    kinds = {found.from_wall: (found.kind, found.ids) for found in with_lost(done, holds).findings}
    assert kinds == {10.0: ("unresolved", ("a",)), 20.0: ("unresolved", ("b",)), 30.0: ("bill_only", ())}
