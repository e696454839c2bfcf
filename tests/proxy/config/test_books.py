"""The blocks `budgets` and `ledger`: their defaults, and what they refuse."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.books import Budgets, Ledger


def test_nothing_waits_for_the_disk_unless_it_is_said() -> None:
    assert not Ledger().strict
    assert Ledger.model_validate({"strict": True}).strict
    assert (Budgets().wait_s, Budgets().waiting_max, Budgets().overrun_tolerance_usd) == (2.0, 1_000, "0")


@pytest.mark.parametrize("block", [{"strict": "maybe"}, {"strict": 1}, {"sync": True}])
def test_nonsense_is_refused(block: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Ledger.model_validate(block)
