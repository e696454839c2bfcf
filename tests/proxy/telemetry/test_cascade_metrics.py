from __future__ import annotations

import pytest
from msgspec import structs

from policies.conformal import Standing
from proxy.observed import Climbed, Decision
from proxy.telemetry.cascade_metrics import baseline_usd_nanos
from proxy.telemetry.metrics import Metrics
from proxy.types import Attempt, Outcome, Plan, Role
from tests.build import PRICE, call, target, usage

CHEAP = target("up/cheap")
DEAR = target("up/dear", price=structs.replace(PRICE, input_uncached=10_000_000, output=20_000_000))
PLAN = Plan("cascade", ((CHEAP,),), "", members=(Plan("single", ((CHEAP,),), ""), Plan("single", ((DEAR,),), "")))
COST = 20_000
SAID = Decision(0.0, "it was accepted")


def attempt(number: int, role: Role, error: str | None = None) -> Attempt:
    of = DEAR if role == "escalation" else CHEAP
    cost = 10 * COST if role == "escalation" else COST
    return Attempt(number, role, of, 0.0, 1.0, "success", usage=usage(), cost_usd_nanos=cost, error_code=error)


def outcome(*attempts: Attempt, climbed: tuple[Climbed, ...] = (), error: str | None = None) -> Outcome:
    return Outcome(call(), PLAN, attempts, 200, 2.0, "cascade", error_code=error, climbed=climbed)


@pytest.mark.parametrize(
    ("attempts", "baseline"),
    [
        ((attempt(1, "first"),), 10 * COST),
        ((attempt(1, "first"), attempt(2, "escalation")), 10 * COST),
        ((attempt(1, "first"), attempt(2, "member")), 10 * COST),
        ((attempt(1, "first", "upstream_error"),), None),
        ((), None),
    ],
)
def test_the_baseline_is_the_answer_at_the_price_of_the_last_rung(
    attempts: tuple[Attempt, ...], baseline: int | None
) -> None:
    assert baseline_usd_nanos(outcome(*attempts)) == baseline


def test_a_last_rung_without_a_price_has_none() -> None:
    unpriced = Plan("single", ((structs.replace(DEAR, price=None),),), "")
    plan = structs.replace(PLAN, members=(PLAN.members[0], unpriced))
    assert baseline_usd_nanos(structs.replace(outcome(attempt(1, "first")), plan=plan)) is None
    assert baseline_usd_nanos(structs.replace(outcome(attempt(1, "first")), plan=None)) is None


def lines(metrics: Metrics) -> set[str]:
    text = metrics.exposition("")[0].decode()
    return {line for line in text.splitlines() if line.startswith("headgate_cascade_")}


def test_every_rung_and_dollar_is_counted() -> None:
    metrics = Metrics(["m"], [CHEAP, DEAR])
    metrics.races.cascades.expect({"m": 2})
    zero = lines(metrics)
    assert 'headgate_cascade_steps_total{cascade="m",decision="error",tier="1"} 0.0' in zero
    assert len(zero) == 2 * 3 + 3
    up = (Climbed(0, "cheap", "escalate", "not_empty"), Climbed(1, "dear", "accept", "last"))
    metrics.started("m")
    metrics.observe(outcome(attempt(1, "first"), attempt(2, "escalation"), climbed=up))
    metrics.started("m")
    metrics.observe(
        structs.replace(
            outcome(attempt(1, "first"), climbed=(Climbed(0, "cheap", "accept", "passed"),)), decisions=(SAID,)
        )
    )
    metrics.started("m")
    metrics.observe(outcome(attempt(1, "first"), attempt(2, "escalation"), climbed=up[:1], error="upstream_error"))
    found = lines(metrics)
    assert 'headgate_cascade_steps_total{cascade="m",decision="escalate",tier="0"} 2.0' in found
    assert 'headgate_cascade_steps_total{cascade="m",decision="accept",tier="0"} 1.0' in found
    assert 'headgate_cascade_steps_total{cascade="m",decision="accept",tier="1"} 1.0' in found
    assert 'headgate_cascade_accepted_total{cascade="m",reason="passed"} 1.0' in found
    assert 'headgate_cascade_accepted_total{cascade="m",reason="last"} 1.0' in found
    assert 'headgate_cascade_actual_usd_total{cascade="m"} 0.00024' in found
    assert 'headgate_cascade_baseline_usd_total{cascade="m"} 0.0004' in found


def standing(agent: str, loss: float, *, withdrawn: bool = False) -> Standing:
    return Standing(agent, "m", 0, 60, 1.0, 0.05, loss, 0.5, 0.3, withdrawn, 0, "")


def test_what_is_known_of_the_worst_agent_is_shown() -> None:
    metrics = Metrics(["m"], [CHEAP, DEAR])
    cascades = metrics.races.cascades
    cascades.stands(standing("a", 0.04))
    cascades.stands(standing("b", 0.9, withdrawn=True))
    cascades.labelled("m", agreed=True)
    cascades.labelled("unknown", agreed=False)
    cascades.shadowed("m", 2_000_000_000)
    found = lines(metrics)
    assert 'headgate_cascade_loss_bound{cascade="m"} 0.9' in found
    assert 'headgate_cascade_withdrawn{cascade="m"} 1.0' in found
    assert 'headgate_cascade_labels_total{answer="same",cascade="m"} 1.0' in found
    assert 'headgate_cascade_labels_total{answer="different",cascade="other"} 1.0' in found
    assert 'headgate_cascade_shadow_usd_total{cascade="m"} 2.0' in found
    cascades.stands(standing("b", 0.02))
    assert 'headgate_cascade_loss_bound{cascade="m"} 0.04' in lines(metrics)
    assert 'headgate_cascade_withdrawn{cascade="m"} 0.0' in lines(metrics)
