"""The answer of `GET /budgets` is what the command reads: it goes through JSON unchanged."""

from __future__ import annotations

import msgspec

from proxy.state.budget_report import BudgetList
from tests.proxy.cli.test_budgets import ROW, TOKENS


def test_the_answer_reads_back_as_it_was() -> None:
    answer = BudgetList((ROW, TOKENS), truncated=True)
    assert msgspec.json.decode(msgspec.json.encode(answer), type=BudgetList) == answer
