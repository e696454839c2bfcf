"""Verdicts: each has a case that it lets pass and one that it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.load.record import Sample
from loadtests.load.scenarios import SCENARIOS, TOKENS
from loadtests.load.verdicts import VERDICTS, Seen


def sample(**changes: object) -> Sample:
    return replace(Sample("Streamer", 1.0, 200, 0.5, first_s=0.06, tokens=TOKENS, run="r"), **changes)  # type: ignore[arg-type]


def bill(
    prompt: int = 1_000, completion: int = 1_000, *, requests: int = 10, told: bool = True, opened: int = 0
) -> object:
    totals = {"prompt_tokens": prompt, "completion_tokens": completion, "streams_open": opened}
    return {"totals": totals, "requests": [{"told": told}] * requests}


MANY = [sample(at=float(number)) for number in range(100)]
RIGHT = Seen(MANY, [bill()], calls=100, cost_usd_nanos=5_000_000, in_flight=0.0, memory_kb=(100, 105), seconds=20.0)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("verdict", "good", "bad"),
    [
        ("nobody_failed", RIGHT, replace(RIGHT, samples=[*MANY, sample(status=502)])),
        (
            "few_failed",
            replace(RIGHT, samples=[*MANY, sample(status=502)]),
            replace(RIGHT, samples=[sample(status=0)] * 3),
        ),
        ("rows_equal_calls", RIGHT, replace(RIGHT, calls=99)),
        ("bill_equals_ledger", RIGHT, replace(RIGHT, cost_usd_nanos=5_000_001)),
        ("prompt", RIGHT, replace(RIGHT, samples=[sample(first_s=1.0)])),
        (
            "refusals_have_hints",
            replace(RIGHT, samples=[sample(status=503)]),
            replace(RIGHT, samples=[sample(status=500)]),
        ),
        (
            "ends_with_goodput",
            RIGHT,
            replace(RIGHT, samples=[*MANY[:60], *[replace(each, status=503) for each in MANY[60:]]]),
        ),
        ("tail_is_cut", RIGHT, replace(RIGHT, samples=[*MANY[:10], sample(first_s=6.0)])),
        ("few_attempts", RIGHT, replace(RIGHT, bills=[bill(requests=200)])),
        ("cuts_are_told", RIGHT, replace(RIGHT, samples=[sample(tokens=5)])),
        ("nothing_left_running", RIGHT, replace(RIGHT, in_flight=1.0)),
        ("each_question_once", replace(RIGHT, samples=[sample(cache="miss")] * 10), RIGHT),
        ("never_overspent", replace(RIGHT, samples=[sample(status=402)]), replace(RIGHT, bills=[bill(10**7)])),
        ("rate_is_kept", RIGHT, replace(RIGHT, samples=MANY * 3)),
        (
            "runs_are_known",
            replace(RIGHT, samples=[sample(run="a"), sample(run="b")]),
            replace(RIGHT, samples=[sample(run="")] * 2),
        ),
        ("memory_flat", RIGHT, replace(RIGHT, memory_kb=(100, 120))),
    ],
)
def test_each(verdict: str, good: Seen, bad: Seen) -> None:
    assert VERDICTS[verdict](good).passed
    assert not VERDICTS[verdict](bad).passed


def test_every_scenario_has_verdicts_that_exist_and_every_verdict_a_scenario() -> None:
    used = {name for scenario in SCENARIOS.values() for name in scenario.passes}
    assert used == set(VERDICTS)
