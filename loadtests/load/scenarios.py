"""The scenarios: who asks, how many, for how long, of what upstream and what gate, and when the gate has passed.

A scenario passes by invariants and by ratios to what the upstream itself would have given, not by absolute times: those
are the machine's. `upstream` is a scenario of `loadtests/upstream.py`; `gate` is merged into the gate's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FIRST_S, INTERVAL_S, TOKENS = 0.05, 0.01, 40
GOOD = {"answer": {"tokens": TOKENS, "first": FIRST_S, "interval": INTERVAL_S}}
WHOLE_S = FIRST_S + TOKENS * INTERVAL_S


@dataclass(frozen=True)
class Scenario:
    about: str
    users: Mapping[str, int]  # class and weight
    count: int
    seconds: int
    passes: tuple[str, ...]  # names of verdicts
    rules: tuple[Mapping[str, object], ...] = ({"steps": [GOOD]},)
    replicas: int = 1
    shape: str = ""
    gate: Mapping[str, object] = field(default_factory=dict)
    during: str = ""  # what is done to the gate meanwhile: `reload`, `scrape`, `kill_upstream`


def _share(share: float, *steps: object) -> dict[str, object]:
    return {"when": {"share": share}, "steps": list(steps)}


ALL_WHOLE = ("nobody_failed", "rows_equal_calls", "bill_equals_ledger")

SCENARIOS: dict[str, Scenario] = {
    "smoke": Scenario("a little of everything", {"Streamer": 2, "Plain": 2, "Agent": 1}, 5, 20, ALL_WHOLE),
    "steady": Scenario("thirty users", {"Streamer": 1, "Plain": 1}, 30, 60, (*ALL_WHOLE, "prompt")),
    "ramp": Scenario(
        "past the knee", {"Streamer": 1}, 120, 30, ("refusals_have_hints", "ends_with_goodput"), shape="ramp"
    ),
    "spike": Scenario(
        "ten times as many, for a while", {"Streamer": 1}, 100, 24, ("refusals_have_hints",), shape="spike"
    ),
    "soak": Scenario("for long", {"Streamer": 1, "Plain": 1, "Agent": 1}, 20, 1_800, (*ALL_WHOLE, "memory_flat")),
    "agents": Scenario("runs whose prompts grow", {"Agent": 1}, 16, 45, (*ALL_WHOLE, "runs_are_known")),
    "tail": Scenario(
        "one stream in twenty is late, and another replica is there",
        {"Streamer": 1},
        10,
        60,
        ("nobody_failed", "rows_equal_calls", "bill_equals_ledger", "tail_is_cut"),
        rules=(_share(0.05, {"answer": {"tokens": TOKENS, "first": 6.0, "interval": INTERVAL_S}}), {"steps": [GOOD]}),
        replicas=2,
        gate={"hedging": {"budget": 0.1, "bimodal_budget": 0.1}},
    ),
    "outage": Scenario(
        "an upstream dies",
        {"Streamer": 1, "Plain": 1},
        10,
        30,
        ("few_failed", "rows_equal_calls"),
        replicas=2,
        during="kill_upstream",
    ),
    "brownout": Scenario(
        "429s with a hint",
        {"Plain": 1},
        10,
        20,
        ("few_failed", "rows_equal_calls", "few_attempts"),
        rules=(_share(0.2, {"reply": {"status": 429, "headers": {"Retry-After": "1"}}}), {"steps": [GOOD]}),
        replicas=2,
    ),
    "midstream": Scenario(
        "streams that are cut",
        {"Streamer": 1},
        10,
        20,
        ("cuts_are_told", "rows_equal_calls", "bill_equals_ledger"),
        rules=(
            _share(0.1, "stream", {"tokens": {"n": 5, "interval": INTERVAL_S}}, {"wait": 0.05}, "reset"),
            {"steps": [GOOD]},
        ),
    ),
    "cancel": Scenario(
        "three of ten leave", {"Leaver": 1}, 20, 20, ("nobody_failed", "rows_equal_calls", "nothing_left_running")
    ),
    "cache": Scenario(
        "the same questions, most often the same few",
        {"Repeater": 1},
        20,
        20,
        ("nobody_failed", "rows_equal_calls", "bill_equals_ledger", "each_question_once"),
        gate={"agents": {"cached": {"cache": {"exact": "on"}}}},
    ),
    "budget": Scenario(
        "fifty at once against a cent",
        {"Spender": 1},
        50,
        10,
        ("never_overspent", "rows_equal_calls", "bill_equals_ledger"),
        gate={"agents": {"spender": {"budget": [{"usd": "0.01", "per": "total"}]}}},
    ),
    "ratelimit": Scenario(
        "above its calls a minute",
        {"Limited": 1},
        10,
        20,
        ("rate_is_kept", "rows_equal_calls"),
        gate={"agents": {"limited": {"rpm": 120}}},
    ),
    "big": Scenario("prompts of megabytes beside small ones", {"Whale": 1, "Quiet": 2}, 6, 20, ALL_WHOLE),
    "streams": Scenario(
        "slow readers, beside one who is not",
        {"SlowReader": 9, "Quiet": 1},
        100,
        25,
        ("nobody_failed", "rows_equal_calls"),
    ),
    "scrape": Scenario("metrics asked for every second", {"Plain": 1}, 20, 20, (*ALL_WHOLE, "prompt"), during="scrape"),
    "reload": Scenario("the configuration changes", {"Streamer": 1, "Plain": 1}, 20, 20, ALL_WHOLE, during="reload"),
}
