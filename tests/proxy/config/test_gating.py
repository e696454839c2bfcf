"""The fields of a run admission gate, as the rules that they stand for."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from policies.run_gate import GateRules
from proxy.config.gating import Gating


def test_an_empty_block_is_the_usual_gate() -> None:
    assert Gating().rules() == GateRules() == GateRules(0.9, 32, 300.0, 1_000)


def test_each_field_has_its_rule() -> None:
    given = Gating(share=0.5, runs=8, idle_s=60.0, waiting_max=9)
    assert given.rules() == GateRules(share=0.5, runs=8, idle_s=60.0, waiting_max=9)


@pytest.mark.parametrize("wrong", [{"share": 0.05}, {"share": 5.0}, {"runs": 1}, {"idle_s": 0.0}, {"waiting_max": -1}])
def test_what_the_limit_could_never_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Gating.model_validate(wrong)
