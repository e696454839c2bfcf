from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.state.report import Fields, Path, RequestRow, critical_path, decision


def step(name: str, begin_ms: int, duration_ms: int) -> RequestRow:
    return RequestRow(
        request_id=name,
        at="",
        at_ms=begin_ms,
        agent="a",
        run="r",
        step=None,
        model="m",
        target=None,
        status=200,
        error_code=None,
        served_by="primary",
        attempts=1,
        input_tokens=0,
        output_tokens=0,
        cost_usd_nanos=0,
        first_event_s=None,
        duration_s=duration_ms / 1000,
    )


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        ([], Path(0.0, [])),
        ([step("a", 0, 5)], Path(0.005, ["a"])),
        ([step("a", 0, 5), step("b", 5, 5)], Path(0.010, ["a", "b"])),
        ([step("a", 0, 5), step("b", 4, 5)], Path(0.005, ["a"])),
        (
            [step("plan", 0, 2), step("left", 2, 3), step("right", 2, 7), step("sum", 9, 1)],
            Path(0.01, ["plan", "right", "sum"]),
        ),
        ([step("around", 0, 10), step("a", 1, 2), step("b", 4, 2)], Path(0.01, ["around"])),
    ],
)  # fmt: skip
def test_the_critical_path_is_the_longest_chain_of_calls_one_after_the_other(
    steps: list[RequestRow], path: Path
) -> None:
    assert critical_path(steps) == path


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=7)


@given(SPANS)
def test_no_other_chain_is_longer(spans: list[tuple[int, int]]) -> None:
    steps = [step(str(index), begin, length) for index, (begin, length) in enumerate(spans)]
    found = critical_path(steps)
    chains = [
        sum(length for _, length in chain)
        for size in range(len(spans) + 1)
        for chain in combinations(sorted(spans), size)
        if all(a[0] + a[1] <= b[0] for a, b in pairwise(chain))
    ]
    assert round(found.seconds * 1000) == max(chains)
    on_it = [next(s for s in steps if s.request_id == id) for id in found.request_ids]
    assert round(sum(s.duration_s for s in on_it) * 1000) == max(chains)


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
    assert decision(CALL, [FAILED, SERVED]) == [
        "planned: single over up/a | up/b (as configured)",
        "attempt 1 (first) went to up/a after 0.001 s: upstream_overloaded after 0.500 s, status 429, "
        "counted as overload",
        "attempt 2 (retry) went to up/b after 0.600 s: success in 0.500 s, status 200, first event after 0.250 s",
        "answered 200 by retry in 2.000 s, of which 1.900 s waiting for upstreams",
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
        "ended 429 with budget_exceeded (policy) in 2.000 s, of which 1.900 s waiting for upstreams",
        "the client left before the reply was complete",
    ]
