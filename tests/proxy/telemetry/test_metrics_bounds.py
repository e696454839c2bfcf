"""Of the same file: totals, bounds and the text."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterable

import pytest
from msgspec.structs import replace
from prometheus_client.utils import floatToGoString

from proxy.telemetry.catalog import FAMILIES
from proxy.telemetry.family import PREFIX
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.text import format_for
from proxy.types import Outcome, Target
from tests.effort import rounds
from tests.proxy.telemetry.samples import (
    ATTEMPT,
    CALL,
    FAST,
    IDENTITY,
    OPENMETRICS,
    OUTCOME,
    REFUSED,
    TARGETS,
    WILD,
    metrics,
    moved,
    parsed,
    scrape,
    value,
)

# --- invariants ------------------------------------------------------------------------------------------------------


def random_outcome(rng: random.Random) -> Outcome:
    name = f"{rng.getrandbits(64):x}"
    target = Target(id=f"{name}/x", provider=name, model=name, price=None)
    call = replace(CALL, route=name, identity=replace(IDENTITY, agent=name, run=name))
    attempt = replace(ATTEMPT, target=target, cost_usd_nanos=rng.randrange(10**9), error_code=rng.choice((None, name)))
    return replace(
        OUTCOME, call=call, attempts=(attempt,), status=rng.randrange(1000), error_code=rng.choice((None, name))
    )


def test_ten_thousand_random_names_grow_nothing_and_show_nowhere() -> None:
    rng, many = random.Random(7), rounds(10_000)
    made, outcomes = metrics(), [random_outcome(rng) for _ in range(many)]
    for outcome in outcomes[:200]:
        made.started(outcome.call.route)
        made.observe(outcome)
    lines = made.exposition("")[0].count(b"\n")
    for outcome in outcomes[200:]:
        made.started(outcome.call.route)
        made.observe(outcome)
    text = made.exposition("")[0].decode()
    assert text.count("\n") <= lines + 2  # a rarer combination of listed values may still come
    assert not any(outcome.call.route in text for outcome in outcomes)
    found = scrape(made)
    assert sum(moved(found, "requests_total").values()) == value(found, "calls_started_total") == many
    spent = sum(attempt.cost_usd_nanos or 0 for outcome in outcomes for attempt in outcome.attempts)
    assert value(found, "spend_usd_total", agent="other", route="other", provider="other", model="other") == spent / 1e9


@pytest.mark.slow
def test_the_widest_configuration_stays_under_thirty_thousand_lines() -> None:
    targets = [Target(id=f"p{n % 9}/m{n}", provider=f"p{n % 9}", model=f"m{n}", price=None) for n in range(100)]
    routes, agents = [f"r{n}" for n in range(60)], [f"a{n}" for n in range(60)]
    made, rng = Metrics(routes, targets, agents=agents), random.Random(3)
    for _ in range(12_000):
        call = replace(CALL, route=rng.choice(routes), identity=replace(IDENTITY, agent=rng.choice(agents)))
        retry = replace(ATTEMPT, target=rng.choice(targets), role="retry")
        outcome = replace(OUTCOME, call=call, attempts=(replace(ATTEMPT, target=rng.choice(targets)), retry))
        made.started(call.route)
        made.observe(outcome)
    text = made.exposition("")[0].decode()
    assert text.count("\n") < 30_000
    found = scrape(made)
    assert value(found, "metrics_overflow_total", metric="spend_usd_total") > 0
    assert sum(moved(found, "requests_total").values()) == 12_000
    assert sum(moved(found, "spend_usd_total").values()) == pytest.approx(24_000 * 0.000012345)


def test_started_is_ended_plus_in_flight_also_over_a_reload() -> None:
    made = metrics(OUTCOME, REFUSED)
    made.started("smart")
    made.started("")
    made.reconfigure(["new"], [FAST], agents=["writer"])
    found = scrape(made)
    ended = sum(moved(found, "requests_total").values())
    assert moved(found, "in_flight_requests") == {
        ("in_flight_requests", "smart"): 1,
        ("in_flight_requests", "other"): 1,
    }
    assert value(found, "calls_started_total") == 4 == ended + 2
    made.observe(OUTCOME)
    made.observe(replace(REFUSED, call=replace(CALL, route="")))
    assert not moved(scrape(made), "in_flight_requests")


def test_attempts_in_flight_come_and_go_with_their_target() -> None:
    made = metrics()
    by_name = replace(WILD, id="p3/some-model", model="some-model")
    for target in (FAST, FAST, by_name):
        made.attempt_started(target)
    made.attempt_ended(FAST)
    assert moved(scrape(made), "upstream_in_flight") == {
        ("upstream_in_flight", "p1/fast"): 1,
        ("upstream_in_flight", "p3/*"): 1,
    }


def test_everything_the_configuration_foresees_is_there_at_zero() -> None:
    found = scrape(metrics())
    assert value(found, "requests_total", route="smart", agent="writer", outcome="timeout") == 0
    assert value(found, "spend_usd_total", route="smart", agent="unattributed", provider="p2", model="deep") == 0
    assert value(found, "time_to_first_token_seconds_bucket", route="smart", served_by="retry", le="2.0") == 0
    assert value(found, "target_info", target="p1/fast", provider="p1", model="fast") == 1


def test_a_reload_bears_the_children_of_new_names() -> None:
    made = metrics()
    made.reconfigure(["new"], [replace(FAST, id="p1/new", model="new")], agents=["reviewer"])
    found = scrape(made)
    assert value(found, "requests_total", route="new", agent="reviewer", outcome="ok") == 0
    assert value(found, "target_info", target="p1/new", provider="p1", model="new") == 1
    assert value(found, "requests_total", route="smart", agent="planner", outcome="ok") == 0


def test_agents_beyond_the_bound_are_other() -> None:
    made = Metrics(["smart"], TARGETS, agents=["planner", "writer", "late"], agents_max=1)
    made.observe(OUTCOME)
    made.observe(replace(OUTCOME, call=replace(CALL, identity=replace(IDENTITY, agent="writer"))))
    found = scrape(made)
    assert moved(found, "requests_total") == {
        ("requests_total", "planner", "ok", "smart"): 1,
        ("requests_total", "other", "ok", "smart"): 1,
    }
    assert value(found, "bound_hits_total", bound="agents") == 2


def test_what_others_own_is_asked_or_told() -> None:
    made = metrics(OUTCOME)
    made.watch("ledger_queue_entries", lambda: 3)
    made.watch("ledger_writes_total", lambda: 9, "ok")
    made.watch_drift(lambda: 12_000)
    made.set("prices_timestamp_seconds", 1.79e9)
    made.set_build("0.1.0", "false")
    made.reload_succeeded(1.8e9)
    made.reload_failed()
    made.loop_lag(0.02)
    made.observer_failed("log")
    found = scrape(made)
    assert value(found, "ledger_queue_entries") == 3 and value(found, "ledger_writes_total", result="ok") == 9
    assert value(found, "ledger_drift_usd") == pytest.approx(0.000000345)
    assert value(found, "config_last_success_timestamp_seconds") == 1.8e9 and value(found, "workers") == 1
    assert value(found, "event_loop_lag_seconds_bucket", le="0.025") == 1
    assert moved(found, "config_reloads_total", "observer_errors_total") == {
        ("config_reloads_total", "ok"): 1,
        ("config_reloads_total", "error"): 1,
        ("observer_errors_total", "log"): 1,
    }
    (version,) = [dict(labels)["version"] for name, labels in found if name == "build_info"]
    assert version == "0.1.0"


# --- the text --------------------------------------------------------------------------------------------------------


def families(text: str) -> Iterable[str]:
    return (line.split()[2] for line in text.splitlines() if line.startswith("# TYPE headgate_"))


def test_every_declared_family_is_exposed_and_nothing_else() -> None:
    text = metrics(OUTCOME).exposition("")[0].decode()
    assert list(families(text)) == [PREFIX + family.name for family in FAMILIES]
    assert "_created" not in text
    assert "process_resident_memory_bytes" in text and "python_info" in text and "python_gc_collections_total" in text


def test_every_edge_is_exposed_as_a_float() -> None:
    made = metrics(OUTCOME)
    made.set_build("0.1.0", "false")
    shown: dict[str, set[str]] = {}
    for name, labels in scrape(made):
        shown.setdefault(name, set()).update(text for label, text in labels if label == "le")
    for family in FAMILIES:
        if family.ladder:
            assert shown[f"{family.name}_bucket"] == {*map(floatToGoString, family.ladder), "+Inf"}, family.name
    assert "2.0" in shown["time_to_first_token_seconds_bucket"]


def test_the_series_it_reports_are_the_series_it_shows() -> None:
    made = metrics(OUTCOME)
    lines = made.exposition("")[0].decode().splitlines()
    assert value(scrape(made), "metrics_series") == sum(line.startswith(PREFIX) for line in lines)


def test_exemplars_stand_in_openmetrics_only() -> None:
    made = metrics(OUTCOME)
    text, content_type = made.exposition(OPENMETRICS)
    traced = [line for line in text.decode().splitlines() if "trace_id" in line]
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert [line.split("{")[0] for line in traced] == [
        "headgate_time_to_first_token_seconds_bucket",
        "headgate_request_cost_usd_bucket",
    ]
    assert traced[0].endswith(f'# {{trace_id="{CALL.trace_id}"}} 0.3125 {CALL.arrived_wall + 0.3125}')
    text, content_type = made.exposition("text/html")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8" and b"trace_id" not in text


@pytest.mark.parametrize(
    "accept", ["", "*/*", "application/openmetrics-text; version=abc", "application/openmetrics-text;version=9.9.9"]
)
def test_any_accept_header_gets_one_of_two_formats(accept: str) -> None:
    text, content_type = metrics().exposition(accept)
    assert text.endswith(b"# EOF\n") == ("openmetrics" in accept)
    assert "9.9.9" not in content_type and "abc" not in content_type


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say() -> None:
    text = metrics(OUTCOME, REFUSED).exposition("")[0]
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_a_scrape_between_whose_turns_calls_end_has_consistent_histograms() -> None:
    made, rng = metrics(), random.Random(5)
    for _ in range(5):
        pieces: list[bytes] = []
        for _ in made.scrapes.turns(format_for(OPENMETRICS), "headgate", pieces):
            made.observe(random_outcome(rng))
        assert len(parsed(b"".join(pieces).decode())) > 500
