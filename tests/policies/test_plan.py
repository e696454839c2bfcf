"""From the model asked for to targets, or a refusal that says what would help."""

from __future__ import annotations

import pytest
from msgspec import Raw, structs

from policies.experiment import Experiment
from policies.plan import Planner, Route, Routes, Usual, never_seen, usual_usd_nanos
from proxy.cache_hints import CacheHints
from proxy.errors import ProxyError
from proxy.pressure import Pressure
from proxy.types import Call, Condition, Head, Period, Plan, Rung, Target
from tests.build import PRICE, call, target

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


# --- near the end of a budget ---------------------------------------------------------------------------------------

DEAR = target("a/dear", price=structs.replace(PRICE, output=20_000_000, reasoning=20_000_000, output_audio=20_000_000))
CHEAP, ALSO = target("b/cheap"), target("c/also")
NEAR = Planner(
    Routes(
        (
            Route("m", (DEAR, CHEAP, ALSO)),
            Route("same", (CHEAP, ALSO)),
            Route("big", (DEAR,), cheaper="small"),
            Route("small", (CHEAP,)),
            Route("odd", (DEAR, CHEAP), cheaper="local"),
            Route("local", (FREE,)),
        )
    )
)
DAY = Period("agent:a", "usd", "day", 7, "agent:a")


def pressed(felt: int, pace: int = 0) -> Pressure:
    return Pressure(felt, pace, 1_000, felt, 0, period=DAY)


def eased(
    model: str,
    felt: int,
    *ladder: Rung,
    output_tokens_max: int | None = 1_000,
    pace: int = 0,
    usual: Usual = never_seen,
) -> Plan:
    head = Head(model, output_tokens_max=output_tokens_max, fields={"model": Raw(b"0")})
    plan = NEAR.plan(call(model, head=head), pressed(felt, pace), ladder=ladder, usual=usual)
    assert isinstance(plan, Plan)
    return plan


def test_the_rung_cheaper_leaves_only_the_cheapest_targets() -> None:
    assert eased("m", 699, "cheaper").steps == ((DEAR, CHEAP, ALSO),)
    plan = eased("m", 700, "cheaper")
    assert (plan.steps, plan.degraded, plan.output_tokens_max) == (((CHEAP, ALSO),), ("cheaper",), None)
    assert plan.reason.endswith("; cheaper, as the budget of agent:a in usd per day is used to 70 %")


def test_a_route_that_has_nothing_cheaper_is_not_called_degraded() -> None:
    plan = eased("same", 750, "cheaper", "shorter")
    assert (plan.steps, plan.degraded) == (((CHEAP, ALSO),), ())
    assert "used to" not in plan.reason


def test_the_operators_cheaper_model_is_taken_unless_it_has_no_price() -> None:
    assert eased("big", 700, "cheaper").steps == ((CHEAP,),)
    assert eased("odd", 700, "cheaper").steps == ((CHEAP,),)


def test_the_rung_shorter_limits_the_output_and_both_are_said() -> None:
    plan = eased("m", 800, "cheaper", "shorter", "stop")
    assert (plan.degraded, plan.output_tokens_max) == (("cheaper", "shorter"), 500)
    assert "cheaper and shorter" in plan.reason
    assert eased("m", 800, "shorter", output_tokens_max=64).degraded == ()


def test_a_learnt_median_goes_before_the_half_of_what_was_asked_for() -> None:
    def usual(call: Call, target: Target) -> int | None:
        return {"a/dear": 300, "b/cheap": 220}.get(target.id)

    assert eased("m", 800, "shorter", usual=usual).output_tokens_max == 300
    assert eased("m", 800, "cheaper", "shorter", usual=usual).output_tokens_max == 220
    assert eased("m", 800, "shorter", output_tokens_max=250, usual=usual).degraded == ()


@pytest.mark.parametrize(("pace", "weight"), [(0, 1.0), (5, 0.55), (10, 0.1)])
def test_the_pace_makes_dear_targets_lighter(pace: int, weight: float) -> None:
    """With the held input the dear one costs 10 times as much, all but."""
    dear, cheap, also = eased("m", 0, output_tokens_max=100_000, pace=pace).steps[0]
    assert dear.weight == pytest.approx(weight, abs=0.01)
    assert (cheap.weight, also.weight) == (1.0, 1.0)
    assert [target.id for target in (dear, cheap, also)] == ["a/dear", "b/cheap", "c/also"]


@pytest.mark.parametrize(
    ("tier", "dear"),
    [(b'"priority"', True), (b'"\\u0070riority"', True), (b'"default"', False), (b"null", False), (b"7", False)],
)
def test_who_asks_for_priority_pays_for_it(tier: bytes, dear: bool) -> None:
    priority = structs.replace(PRICE, id="priority", output=2 * PRICE.output)
    fast = structs.replace(target(), tiers=(("standard", PRICE), ("priority", priority)))
    planner = Planner(Routes((Route("m", (fast,)),)))
    asked = call(head=Head(model="m", fields={"service_tier": Raw(tier)}))
    plan = planner.plan(asked)
    assert isinstance(plan, Plan)
    assert [each.price for each in plan.steps[0]] == [priority if dear else PRICE]


# --- fallbacks -------------------------------------------------------------------------------------------------------

LARGE: tuple[tuple[Condition, str], ...] = (("context_window", "large"), ("any", "spare"), ("any", "qwen"))
WITH_FALLBACKS = Routes(
    (
        Route("m", (target("up/m"),), fallbacks=LARGE),
        Route("large", (target("up/large"),)),
        Route("spare", (target("up/spare"), target("local/spare", price=None))),
        Route("qwen", (FREE,)),
        Route("openai/*", target_for=any_model, fallbacks=(("any", "m"),)),
    )
)


@pytest.mark.parametrize(
    ("asked", "named", "fallbacks", "steps"),
    [
        ("m", (), (("context_window", "large"), ("any", "spare")), ["up/m", "up/large", "up/spare"]),
        (
            "m",
            ("openai/x", "spare", "m"),
            (("context_window", "large"), ("any", "openai/x"), ("any", "spare")),
            ["up/m", "up/large", "openai/x", "up/spare"],
        ),
        ("openai/o9", (), (("any", "m"),), ["openai/o9", "up/m"]),
        ("large", ("m",), (("any", "m"),), ["up/large", "up/m"]),
        ("large", (), (), ["up/large"]),
    ],
)
def test_typed_fallbacks_come_first_then_the_clients_then_the_operators_others_and_none_without_a_price(
    asked: str, named: tuple[str, ...], fallbacks: tuple[tuple[Condition, str], ...], steps: list[str]
) -> None:
    plan = Planner(WITH_FALLBACKS).plan(call(asked, head=Head(asked, fallbacks=named)))
    assert isinstance(plan, Plan)
    assert plan.fallbacks == fallbacks
    assert [target.id for step in plan.steps for target in step] == steps


def test_where_prices_may_be_unknown_every_fallback_stands_in_the_plan() -> None:
    plan = Planner(WITH_FALLBACKS, unpriced_allowed=True).plan(call("m"))
    assert isinstance(plan, Plan)
    assert [len(step) for step in plan.steps] == [1, 1, 2, 1]


def test_near_the_end_of_a_budget_a_plan_keeps_its_fallbacks() -> None:
    plan = Planner(WITH_FALLBACKS).plan(call("m"), Pressure(felt=750), ladder=("cheaper",))
    assert isinstance(plan, Plan)
    assert plan.fallbacks[0] == ("context_window", "large")


def test_a_fallback_for_priority_service_is_priced_as_such() -> None:
    dear = structs.replace(PRICE, id="dear")
    routes = Routes(
        (
            Route("m", (target("up/m"),), fallbacks=(("any", "n"),)),
            Route("n", (structs.replace(target("up/n"), tiers=(("priority", dear),)),)),
        )
    )
    head = Head("m", fields={"service_tier": Raw(b'"priority"')})
    plan = Planner(routes).plan(call("m", head=head))
    assert isinstance(plan, Plan)
    assert plan.steps[1][0].price == dear


def test_near_the_end_of_a_budget_a_cascade_goes_without_its_last_rung() -> None:
    members = (Route("small", (CHEAP,)), Route("large", (DEAR,)))
    together = (Route("smart", mode="cascade", members=members), Route("vote", mode="quorum", members=members))
    planner = Planner(Routes((*members, *together)))

    def planned(felt: int, *ladder: Rung, model: str = "smart") -> Plan:
        plan = planner.plan(call(model), pressed(felt), ladder=ladder)
        assert isinstance(plan, Plan)
        return plan

    assert [member.model for member in planned(699, "cheaper").members] == ["small", "large"]
    assert [member.model for member in planned(700).members] == ["small", "large"]
    near_the_end = planned(700, "cheaper")
    assert [member.model for member in near_the_end.members] == ["small"]
    assert near_the_end.degraded == ("cheaper",)
    assert near_the_end.reason.endswith("; without the last, as the budget of agent:a in usd per day is used to 70 %")
    assert len(planned(700, "cheaper", model="vote").members) == 2


# --- experiments -----------------------------------------------------------------------------------------------------


def test_an_arm_of_an_experiment_plans_as_if_it_had_been_asked_for() -> None:
    old, new = Route("old", (target("p/old"),)), Route("new", (target("p/new"),), balance="weighted")
    panel = Route("panel", mode="quorum", members=(old, new))
    for candidate, mode in ((new, "single"), (panel, "quorum")):
        experiment = Experiment("x", 1.0)
        planner = Planner(Routes((old, new, panel, Route("x", experiment=experiment, arms=(old, candidate)))))
        plan = planner.plan(call("x"))
        wanted = planner.plan(call(candidate.name))
        assert isinstance(plan, Plan)
        assert isinstance(wanted, Plan)
        assert plan.arm == experiment.assign(call("x"))
        assert plan.reason == f"arm candidate of experiment 'x': {wanted.reason}"
        assert structs.replace(plan, arm=None, reason=wanted.reason) == wanted
        assert (plan.mode, plan.model) == (mode, candidate.name)


def test_who_is_not_looked_at_is_answered_by_the_control() -> None:
    old, new = Route("old", (target("p/old"),)), Route("new", (target("p/new"),))
    shadow = Experiment("x", 0.0, mode="shadow")
    planner = Planner(Routes((old, new, Route("x", experiment=shadow, arms=(old, new)))))
    assert planner.plan(call("x")) == planner.plan(call("old"))


def test_an_error_of_an_arm_is_the_error() -> None:
    unpriced = Route("new", (target("p/new", price=None),))
    planner = Planner(Routes((Route("x", experiment=Experiment("x", 1.0), arms=(unpriced, unpriced)),)))
    refused = planner.plan(call("x"))
    assert isinstance(refused, ProxyError)
    assert refused.code == "unpriced_model"


def test_near_a_budgets_end_nothing_is_made_of_a_model_that_has_no_targets_of_its_own() -> None:
    dear = structs.replace(PRICE, output=10 * PRICE.output)
    both = (target("p/a"), target("p/b", price=dear))
    panel = Route("panel", mode="quorum", members=(Route("m", both),))
    planner = Planner(Routes((Route("m", both, cheaper="panel"), panel)))
    plan = planner.plan(call("m"), Pressure(felt=900), ladder=("cheaper",))
    assert isinstance(plan, Plan)
    assert [each.id for each in plan.steps[0]] == ["p/a"]


@pytest.mark.parametrize(
    ("raw", "hints", "each"),
    [
        (b"{}", None, PRICE.input_uncached),
        (b"{}", CacheHints(key="k"), PRICE.input_uncached),
        (b'{"cache_control":{"type":"ephemeral"}}', None, PRICE.input_cache_write_5m),
        (b"{}", CacheHints(whole=True), PRICE.input_cache_write_5m),
    ],
)
def test_what_a_call_will_probably_cost_has_the_price_of_a_write_only_where_one_is_asked_for(
    raw: bytes, hints: CacheHints | None, each: int
) -> None:
    asked = structs.replace(call("m"), raw=raw, hints=hints, input_tokens_estimate=100)
    assert usual_usd_nanos(asked, target("p/m"), 10) * 1_000 == 100 * each + 10 * PRICE.output
