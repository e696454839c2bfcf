"""The block `hedging`, from the file to the policy's rules."""

from __future__ import annotations

from proxy.config.hedging import Hedging


def test_the_defaults_of_the_file_are_those_of_the_policy() -> None:
    rules = Hedging().rules()
    assert (rules.budget, rules.budget_bimodal, rules.credit.run_hedges_max) == (0.02, 0.05, 2)


def test_what_is_written_reaches_the_policy() -> None:
    rules = Hedging(budget=0.03, bimodal_budget=0.07, run_max=0).rules()
    assert (rules.budget, rules.budget_bimodal, rules.credit.run_hedges_max) == (0.03, 0.07, 0)
