"""From the model asked for to targets, or a refusal that says what would help."""

from __future__ import annotations

from policies.plan import Planner, Route, Routes
from proxy.errors import ProxyError
from proxy.types import Plan, Target
from tests.build import call, target

FREE = target("local/qwen", price=None)


def any_model(rest: str) -> tuple[Target, ...]:
    return (target(f"openai/{rest}"),)


def special_model(rest: str) -> tuple[Target, ...]:
    return (target(f"special/{rest}"),)


ROUTES = Routes(
    (
        Route("gpt", (target("openai/gpt"),)),
        Route("qwen", (FREE,)),
        Route("openai/*", target_for=any_model),
        Route("openai/ft-*", target_for=special_model),
    )
)


def first(plan: Plan | ProxyError) -> str:
    assert isinstance(plan, Plan)
    return plan.steps[0][0].id


def test_an_exact_name_wins_and_a_wildcard_passes_the_rest_on() -> None:
    planner = Planner(ROUTES)
    assert first(planner.plan(call("gpt"))) == "openai/gpt"
    assert first(planner.plan(call("openai/o9"))) == "openai/o9"


def test_the_longer_wildcard_wins() -> None:
    assert first(Planner(ROUTES).plan(call("openai/ft-7"))) == "special/7"


def test_a_wildcard_alone_is_no_model() -> None:
    assert isinstance(Planner(ROUTES).plan(call("openai/")), ProxyError)


def test_an_unknown_model_is_named_and_others_are_offered() -> None:
    refusal = Planner(ROUTES).plan(call("gtp"))
    assert isinstance(refusal, ProxyError)
    assert (refusal.code, refusal.status, refusal.param) == ("model_not_found", 404, "model")
    assert "'gtp'" in refusal.message
    assert "gpt" in refusal.message


def test_an_unpriced_model_is_refused_before_anything_is_spent() -> None:
    refusal = Planner(ROUTES).plan(call("qwen"))
    assert isinstance(refusal, ProxyError)
    assert (refusal.code, refusal.status) == ("unpriced_model", 402)


def test_an_operator_may_allow_unpriced_models() -> None:
    assert first(Planner(ROUTES, unpriced_allowed=True).plan(call("qwen"))) == "local/qwen"
