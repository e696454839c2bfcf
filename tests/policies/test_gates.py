"""What may go on, and what is refused, with which words."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies import gates
from policies.plan import Route, Routes
from proxy.types import Head, Identity
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
    refusal = gates.allowed(structs.replace(call("m"), identity=who), by_agent, Routes(()))
    assert (refusal is not None) is refused
    assert refusal is None or (refusal.code, refusal.param) == ("not_allowed", "model")


@pytest.mark.parametrize(
    ("models", "by_key", "by_agent", "code"),
    [
        (("n", "up/x"), None, None, None),
        (("n",), ("m", "n"), frozenset({"m", "n"}), None),
        (("n", "up/x"), ("m", "n"), None, "not_allowed"),
        (("n",), None, frozenset({"m"}), "not_allowed"),
        (("n", "nobody"), None, None, "model_not_found"),
    ],
)
def test_every_fallback_that_a_client_names_must_be_one_it_may_ask_for(
    models: tuple[str, ...], by_key: tuple[str, ...] | None, by_agent: frozenset[str] | None, code: str | None
) -> None:
    routes = Routes((Route("m"), Route("n"), Route("up/*", target_for=lambda rest: ())))
    who = Identity(key_id="k", agent="a", models=by_key)
    refusal = gates.allowed(call(head=Head("m", fallbacks=models), identity=who), by_agent, routes)
    assert (None if refusal is None else refusal.code) == code
    assert refusal is None or repr(models[-1]) in refusal.message


@pytest.mark.parametrize(
    ("left_s", "wait_s", "service_s", "refused"),
    [(10, 0, 0, False), (10, 4, 6, False), (10, 4.1, 6, True), (10, 11, 0, True), (10, 0, 11, True)],
)
def test_what_cannot_end_in_time_is_not_begun(left_s: float, wait_s: float, service_s: float, refused: bool) -> None:
    refusal = gates.hopeless(call(deadline=1000.0 + left_s), wait_s, service_s, now=1000.0)
    assert (None if refusal is None else (refusal.code, refusal.status, refusal.client_may_retry)) == (
        ("deadline_exceeded", 504, False) if refused else None
    )


@pytest.mark.parametrize(("passed", "refused"), [(0, False), (gates.HOPS_MAX - 1, False), (gates.HOPS_MAX, True)])
def test_a_call_that_goes_round_is_stopped(passed: int, refused: bool) -> None:
    refusal = gates.hops(structs.replace(call(), hops=passed))
    assert (None if refusal is None else refusal.code) == ("too_many_hops" if refused else None)
