"""A model is one of targets, or one of several models: never half of each."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.models import Model

TARGETS = [{"provider": "p", "model": "m"}]


@pytest.mark.parametrize(
    "values",
    [
        {"targets": TARGETS},
        {"mode": "cascade", "steps": ["a", "b"]},
        {"mode": "quorum", "members": ["a", "b", "b"]},
        {"mode": "debate", "members": ["a", "b"]},
    ],
)
def test_what_a_model_can_be(values: dict[str, object]) -> None:
    assert Model.model_validate(values).together == tuple(values.get("steps") or values.get("members") or ())  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"mode": "cascade", "targets": TARGETS},
        {"mode": "cascade", "steps": ["a"], "targets": TARGETS},
        {"mode": "quorum", "steps": ["a", "b"]},
        {"steps": ["a", "b"]},
    ],
)
def test_what_it_cannot(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Model.model_validate(values)
