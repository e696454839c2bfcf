"""The blocks `run` and `loops`: what they leave out is not limited, and nonsense is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from policies.loops import LoopRules
from policies.runs import NO_LIMITS, RunLimits
from proxy.config.run_rules import LoopGuarding, RunRules


def test_what_is_left_out_is_not_limited() -> None:
    assert RunRules().limits() == NO_LIMITS
    rules = RunRules.model_validate({"seconds": 3600, "width": 16, "depth": 4})
    assert rules.limits() == RunLimits(seconds=3600, width=16, depth=4)


@pytest.mark.parametrize("block", [{"seconds": 0}, {"width": 0}, {"depth": 0}, {"depth": 6}, {"length": 1}])
def test_nonsense_is_refused(block: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        RunRules.model_validate(block)


def test_a_run_at_its_limit_gets_an_error_unless_it_is_said() -> None:
    assert RunRules().limits().at_limit == "error"
    assert RunRules.model_validate({"at_limit": "best"}).limits() == RunLimits(at_limit="best")


def test_loops_are_only_said_unless_more_is_wanted() -> None:
    assert LoopGuarding().rules() == LoopRules("annotate", frozenset())
    rules = LoopGuarding.model_validate({"mode": "on", "polling": ["wait", "job_status"]}).rules()
    assert rules == LoopRules("on", frozenset({"wait", "job_status"}))


@pytest.mark.parametrize("block", [{"mode": "refuse"}, {"polling": "wait"}, {"polling": ["wait", "wait"]}])
def test_nonsense_of_loops_is_refused(block: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LoopGuarding.model_validate(block)
