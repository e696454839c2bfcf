from __future__ import annotations

import pytest

from proxy.demo.fleet import Tally
from proxy.demo.result import Dollars, Purpose, by_cause, column, quantile, told
from proxy.demo.vendor import Invoice
from proxy.providers.simulated_reply import Bill


def invoice(id: str, *, tokens: int = 10, cancelled: bool = False, retried: bool = False, run: str = "") -> Invoice:
    bill = Bill("sim-small", "chat", prompt_tokens=100, cached_tokens=40, completion_tokens=tokens, cancelled=cancelled)
    return Invoice("east", id, bill, run, retried)


COST = 60 * 150 + 40 * 75 + 10 * 600


@pytest.mark.parametrize(
    ("share", "values", "expected"),
    [
        (0.5, [], None),
        (0.5, [3.0], 3.0),
        (0.5, [4.0, 1.0, 3.0, 2.0], 2.0),
        (0.99, [float(value) for value in range(1, 101)], 99.0),
        (0.99, [float(value) for value in range(1, 11)], 10.0),
    ],
)
def test_a_quantile_is_a_measured_value(share: float, values: list[float], expected: float | None) -> None:
    assert quantile(share, values) == expected


def test_every_dollar_has_one_cause() -> None:
    causes = by_cause([invoice("1"), invoice("2", retried=True), invoice("3", retried=True, cancelled=True)])
    assert causes == Dollars(first_attempts=COST, retries=COST, cut_or_abandoned=COST)
    assert causes.total == 3 * COST


def test_the_ledger_tells_what_an_attempt_was_for() -> None:
    known = {("east", "1"): Purpose("planner-1", True), ("west", "2"): Purpose("coder-1", True)}
    first, second = told([invoice("1"), invoice("2")], known)
    assert (first.run, first.retried) == ("planner-1", True)
    assert (second.run, second.retried) == ("", False)


def test_a_column_counts_its_runs_and_prices_those_that_both_completed() -> None:
    tally = Tally()
    tally.endings = {"a": "completed", "b": "failed"}
    invoices = [invoice("1", run="a"), invoice("2", run="b")]
    made = column(3, tally, vendors=(), invoices=invoices, same={"a"})
    assert (made.runs, made.runs_completed, made.runs_failed) == (3, 1, 1)
    assert (made.usd_nanos_total, made.usd_nanos_same_runs) == (2 * COST, COST)
    assert made.input_cached_share == pytest.approx(0.4)
    assert column(3, tally, vendors=(), invoices=[], same=set()).input_cached_share is None
