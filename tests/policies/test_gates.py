"""What may go on, and what is refused, with which words."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies import gates
from proxy.types import Identity
from tests.build import call


@pytest.mark.parametrize(("deadline", "refused"), [(1000.0, True), (999.0, True), (1000.0005, True), (1000.5, False)])
def test_a_call_whose_time_is_over_is_refused(deadline: float, refused: bool) -> None:
    refusal = gates.deadline(call(deadline=deadline), now=1000.0)
    assert (refusal is not None) is refused
    assert refusal is None or (refusal.code, refusal.status, refusal.source) == ("deadline_exceeded", 504, "policy")


@pytest.mark.parametrize(
    ("by_key", "by_agent", "refused"),
    [
        (None, None, False),
        (("m",), None, False),
        (("other",), None, True),
        ((), None, True),
        (None, frozenset({"m"}), False),
        (None, frozenset({"other"}), True),
        (("m",), frozenset({"other"}), True),
    ],
)
def test_key_and_agent_must_both_allow_the_model(
    by_key: tuple[str, ...] | None, by_agent: frozenset[str] | None, refused: bool
) -> None:
    who = Identity(key_id="k", agent="a", models=by_key)
    refusal = gates.allowed(structs.replace(call("m"), identity=who), by_agent)
    assert (refusal is not None) is refused
    assert refusal is None or (refusal.code, refusal.param) == ("not_allowed", "model")
