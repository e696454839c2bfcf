"""The block `run`: what it leaves out is not limited, and nonsense is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from policies.runs import NO_LIMITS, RunLimits
from proxy.config.run_rules import RunRules


def test_what_is_left_out_is_not_limited() -> None:
    assert RunRules().limits() == NO_LIMITS
    rules = RunRules.model_validate({"seconds": 3600, "width": 16, "depth": 4})
    assert rules.limits() == RunLimits(seconds=3600, width=16, depth=4)


@pytest.mark.parametrize("block", [{"seconds": 0}, {"width": 0}, {"depth": 0}, {"depth": 6}, {"length": 1}])
def test_nonsense_is_refused(block: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        RunRules.model_validate(block)
