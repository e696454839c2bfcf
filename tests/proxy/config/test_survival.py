"""What a configuration may say of streams that break off."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from policies.survival import Survival
from proxy.config.survival import HOLD_MOST, Surviving


def test_what_is_left_out_changes_nothing() -> None:
    assert Surviving().survival() == Survival("error", 0)
    assert Surviving.model_validate({"on_cut": "continue", "hold_tokens": 16}).survival() == Survival("continue", 16)


@pytest.mark.parametrize("block", [{"on_cut": "ignore"}, {"hold_tokens": -1}, {"hold_tokens": HOLD_MOST + 1}])
def test_nonsense_is_refused(block: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Surviving.model_validate(block)
