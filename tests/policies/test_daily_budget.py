from __future__ import annotations

from policies.daily_budget import DailyBudget


def test_a_budget_fills_up_over_a_day_and_not_beyond() -> None:
    budget = DailyBudget()
    assert budget.has_some(1_000, 0.0)
    budget.spend(1_500)
    assert not budget.has_some(1_000, 86_400 * 0.4)
    assert budget.has_some(1_000, 86_400 * 0.6)
    assert budget.has_some(1_000, 86_400 * 100)
    budget.spend(1_000)
    assert not budget.has_some(1_000, 86_400 * 100)


def test_without_a_budget_nothing_is_spent() -> None:
    assert not DailyBudget().has_some(0, 0.0)
