from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxy.demo.check import Check, Purpose, Sides, checked, told
from proxy.demo.vendor import Invoice
from proxy.providers.simulated_reply import Bill

COST = 100 * 150 + 10 * 600


def invoice(id: str, provider: str = "east") -> Invoice:
    bill = Bill("sim-small", "chat", prompt_tokens=100, cached_tokens=0, completion_tokens=10)
    return Invoice(provider, id, bill, asked_at=0.0)


def check_of(
    invoices: Sequence[Invoice], *reported: int | None, more_usd_nanos: int = 0, estimated_attempts: int = 0
) -> Check:
    """`reported`: what the ledger has for the invoices, in order."""
    purposes = {
        (each.provider, each.request_id): Purpose("r", "first", cost)
        for each, cost in zip(invoices, reported, strict=False)
    }
    ledger = sum(cost or 0 for cost in reported) + more_usd_nanos
    return checked(invoices, purposes, ledger_usd_nanos=ledger, estimated_attempts=estimated_attempts)


def test_the_ledger_tells_what_an_attempt_was_for() -> None:
    known = {("east", "1"): Purpose("planner-1", "hedge", 1), ("west", "2"): Purpose("coder-1", "retry", 1)}
    first, second = told([invoice("1"), invoice("2")], known)
    assert (first.run, first.cause) == ("planner-1", "hedge")
    assert (second.run, second.cause) == ("", "first")


def test_what_was_reported_is_equal_to_the_nano_dollar() -> None:
    both = [invoice("1"), invoice("1", "west")]
    assert check_of(both, COST, COST) == Check(Sides(2 * COST, 2 * COST, 0), Sides(0, 0, 0), 0, 0)
    assert check_of(both, COST, COST).exact


@pytest.mark.parametrize("off", [-1, 1])
def test_one_nano_dollar_is_enough_to_fail(off: int) -> None:
    check = check_of([invoice("1"), invoice("2")], COST, COST + off)
    assert check.reported.difference_usd_nanos == off
    assert not check.exact


def test_what_nobody_reported_stands_apart_and_may_differ() -> None:
    check = check_of([invoice("1"), invoice("2")], COST, None, more_usd_nanos=3 * COST, estimated_attempts=2)
    assert check == Check(Sides(COST, COST, 0), Sides(3 * COST, COST, 2 * COST), 2, 1)
    assert check.exact


def test_an_answer_that_nobody_has_billed_is_a_difference() -> None:
    purposes = {("east", id): Purpose("r", "first", COST) for id in ("1", "2")}
    check = checked([invoice("1")], purposes, ledger_usd_nanos=2 * COST, estimated_attempts=0)
    assert check.reported == Sides(2 * COST, COST, COST)
    assert not check.exact


def test_an_invoice_that_the_ledger_knows_nothing_of_is_no_estimate() -> None:
    assert not check_of([invoice("1"), invoice("2")], COST).exact
    assert not check_of([invoice("1"), invoice("2"), invoice("3")], COST, None, estimated_attempts=1).exact
