from __future__ import annotations

from typing import get_args

from policies.accept import GATES
from policies.accept_rules import GATES_USUAL, CascadeRules, GateName


def test_every_gate_that_can_be_named_is_carried_out() -> None:
    assert set(get_args(GateName)) == {*GATES, "repeated_tool_error"}
    assert CascadeRules().accept == GATES_USUAL


def test_without_a_word_nothing_costs_more_than_the_rungs() -> None:
    rules = CascadeRules()
    assert (rules.agree, rules.judge, rules.verify, rules.revise, rules.shadow) == (None, None, None, "off", 0.0)
