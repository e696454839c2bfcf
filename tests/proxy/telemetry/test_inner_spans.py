"""Where a call was before it was sent, as spans: under the call, in its time, one after the other."""

from __future__ import annotations

from msgspec import structs

from proxy.observed import LookedUp, Spell
from proxy.telemetry.span import INTERNAL, Span
from proxy.telemetry.spans import spans
from proxy.types import Outcome, Plan
from tests.build import target
from tests.proxy.telemetry.test_spans import CALL, attempt, attributes, outcome

PLAN = Plan("single", ((target("up1/model"), target("up2/model")),), "the only route")
RATES = Spell("queue", "rate limits", 1000.0, 1000.1, False)
CACHE = Spell("cache", "", 1000.1, 1000.2, False)
TARGET = Spell("queue", "up1/model", 1000.3, 1000.5, True)


def inner(made: Outcome) -> list[Span]:
    return [span for span in spans(made, ("genai",)) if span["kind"] == INTERNAL]


def seconds(span: Span) -> tuple[float, float]:
    """Since the call arrived."""
    began = CALL.arrived_wall
    start, end = (int(str(span[name])) / 1e9 - began for name in ("startTimeUnixNano", "endTimeUnixNano"))
    return round(start, 3), round(end, 3)


def test_a_call_that_waited_looked_and_was_planned_says_when() -> None:
    made = outcome(attempt(1), plan=PLAN, spells=(RATES, CACHE, TARGET), looked_up=(LookedUp("exact", "miss"),))
    found = inner(made)
    assert [(span["name"], seconds(span)) for span in found] == [
        ("queue", (0.0, 0.1)),
        ("cache", (0.1, 0.2)),
        ("queue", (0.3, 0.5)),
        ("plan", (0.2, 0.3)),
    ]
    assert attributes(found[0]) == {"headgate.queue.for": "rate limits"}
    assert attributes(found[1]) == {"headgate.cache.exact": "miss"}
    assert attributes(found[3]) == {
        "headgate.plan.mode": "single",
        "headgate.plan.reason": "the only route",
        "headgate.plan.targets": "up1/model, up2/model",
    }


def test_they_hang_on_the_call_and_each_has_its_own_id() -> None:
    made = outcome(attempt(1), plan=PLAN, spells=(RATES, CACHE, TARGET))
    server, *rest = spans(made, ("genai",))
    assert {span["parentSpanId"] for span in rest} == {server["spanId"]}
    assert len({span["spanId"] for span in (server, *rest)}) == 6
    assert {span["traceId"] for span in rest} == {server["traceId"]}


def test_a_call_that_waited_for_nothing_has_its_plan_alone() -> None:
    (plan,) = inner(outcome(attempt(1), plan=PLAN))
    assert (plan["name"], seconds(plan)) == ("plan", (0.0, 0.5))


def test_waits_too_short_to_see_have_no_span() -> None:
    short = structs.replace(TARGET, ended_at=TARGET.began_at + 0.0005)
    assert [span["name"] for span in inner(outcome(attempt(1), plan=PLAN, spells=(short,)))] == ["plan"]


def test_a_call_that_was_refused_before_it_was_planned_has_no_plan() -> None:
    assert [span["name"] for span in inner(outcome(spells=(RATES,), status=429))] == ["queue"]


def test_a_plan_that_came_to_nothing_ends_with_the_call() -> None:
    (plan,) = inner(outcome(plan=PLAN, status=429))
    assert seconds(plan) == (0.0, 3.0)


def test_a_panel_names_its_members() -> None:
    members = tuple(Plan("single", ((target("up/x"),),), "", model=name) for name in ("small", "large"))
    (plan,) = inner(outcome(plan=Plan("quorum", (), "asks all", members=members)))
    assert attributes(plan)["headgate.plan.models"] == "small, large"
