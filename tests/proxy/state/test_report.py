from __future__ import annotations

import pytest

from proxy.state.report import NOT_KNOWN, Decided, Fields, decision, members

CALL: Fields = {
    "plan_mode": "single",
    "plan_targets": "up/a | up/b",
    "plan_reason": "as configured",
    "status": 200,
    "error_code": None,
    "error_source": None,
    "served_by": "retry",
    "duration_s": 2.0,
    "upstream_s": 1.9,
    "client_gone": 0,
}
FAILED: Fields = {
    "number": 1,
    "role": "first",
    "target": "up/a",
    "started_s": 0.001,
    "duration_s": 0.5,
    "first_event_s": None,
    "lesson": "overload",
    "status": 429,
    "error_code": "upstream_overloaded",
}
SERVED: Fields = FAILED | {
    "number": 2,
    "role": "retry",
    "target": "up/b",
    "started_s": 0.6,
    "first_event_s": 0.25,
    "lesson": "success",
    "status": 200,
    "error_code": None,
}


def test_a_decision_tells_the_plan_every_attempt_and_the_end() -> None:
    assert decision(CALL, [FAILED, SERVED])[:-1] == [
        "planned: single over up/a | up/b (as configured)",
        "attempt 1 (first) went to up/a after 0.001 s: upstream_overloaded after 0.500 s, status 429, "
        "counted as overload",
        "attempt 2 (retry) went to up/b after 0.600 s: success in 0.500 s, status 200, first event after 0.250 s",
        "answered 200 by retry in 2.000 s, of which 1.900 s waiting for upstreams, limits and gates",
    ]


def test_a_refusal_says_that_nothing_was_sent() -> None:
    refused: Fields = CALL | {
        "plan_mode": None,
        "status": 429,
        "error_code": "budget_exceeded",
        "error_source": "policy",
        "client_gone": 1,
    }
    assert decision(refused, []) == [
        "nothing was sent to any provider",
        "ended 429 with budget_exceeded (policy) in 2.000 s, of which 1.900 s waiting for upstreams, limits and gates",
        "the client left before the reply was complete",
    ]


def test_what_was_decided_on_the_way_is_told_with_what_it_was_made_from() -> None:
    why = "too many of its calls fail"
    considered = [("up/model", 0.25, ""), ("other/model", None, why), ("third/model", 0.5, "0.25 s above the lowest")]
    told = decision(CALL, [SERVED], [(0.001, "up/model was lowest in score", considered), (0.4, "hedged", [])])
    assert told[1:3] == [
        "after 0.001 s: up/model was lowest in score [up/model: expected 0.250 s; other/model: too many of its calls "
        "fail; third/model: expected 0.500 s, 0.25 s above the lowest]",
        "after 0.400 s: hedged",
    ]


def test_of_the_chosen_one_nothing_is_said_where_nothing_was_measured() -> None:
    considered: list[tuple[str, float | None, str]] = [("up/a", None, ""), ("up/b", None, "tried before")]
    told = decision(CALL, [], [(0.0, "up/a was the only one left", considered), (1.0, "up/c", considered[:1])])
    assert told[1:3] == ["after 0.000 s: up/a was the only one left [up/b: tried before]", "after 1.000 s: up/c"]


def test_decisions_and_attempts_are_told_in_the_order_in_which_they_fell() -> None:
    lost: Fields = FAILED | {"started_s": 0.0, "error_code": None, "lesson": "ignore", "status": None}
    hedge: Fields = SERVED | {"role": "hedge", "started_s": 0.4}
    decided: list[Decided] = [
        (0.0, "up/a was first", []),
        (0.4, "hedged", []),
        (0.65, "up/b was first, up/a was closed", []),
    ]
    assert decision(CALL, [hedge, lost], decided)[1:6] == [
        "after 0.000 s: up/a was first",
        "attempt 1 (first) went to up/a after 0.000 s: given up after 0.500 s",
        "after 0.400 s: hedged",
        "attempt 2 (hedge) went to up/b after 0.400 s: success in 0.500 s, status 200, first event after 0.250 s",
        "after 0.650 s: up/b was first, up/a was closed",
    ]


@pytest.mark.parametrize(
    "said", ["not looked for in the exact cache: its temperature is not 0", "joined the call x, which was running"]
)
def test_a_call_that_could_have_had_a_known_answer_says_why_it_had_none(said: str) -> None:
    assert decision(CALL, [SERVED])[-1] == NOT_KNOWN
    assert NOT_KNOWN not in decision(CALL, [SERVED], [(0.0, said, [])])
    assert NOT_KNOWN not in decision(CALL, []), "it did not come that far"


@pytest.mark.parametrize(
    ("mode", "shown"),
    [("quorum", "up/b+up/a+up/c"), ("debate", "up/b+up/a+up/c"), ("cascade", "up/b>up/a>up/c"), ("single", None)],
)
def test_who_was_asked_is_named_once_each_in_order_where_a_model_stands_for_several(
    mode: str, shown: str | None
) -> None:
    assert members(mode, ["up/b", "up/a", "up/b", "up/c"]) == shown
    assert members(mode, []) is None
