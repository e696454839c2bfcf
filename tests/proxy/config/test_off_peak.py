"""How much time an agent's calls of priority `batch` may be given."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.off_peak import Patient


def test_nothing_has_hours_unless_it_is_said() -> None:
    assert Patient().batch.window_s is None
    assert Patient.model_validate({"batch": {"window_s": 86_400}}).batch.window_s == 86_400


@pytest.mark.parametrize("block", [{"window_s": 0}, {"window_s": "1d"}, {"hours": 24}])
def test_nonsense_is_refused(block: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Patient.model_validate({"batch": block})
