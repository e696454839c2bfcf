"""Every panel, asked of a real Prometheus that has watched a real gate: none is empty, all have their shape."""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from grafana import preview
from loadtests.load.telling import Teller
from tests.grafana.expressions import SELECTOR, labels_of
from tests.grafana.scenario import KNOWN_CALLS, KNOWN_USD, play
from tests.grafana.stage import Stage, needed
from tests.grafana.test_dashboards import COMMITTED
from tests.real.processes import eventually
from tests.redis_server import RedisServer, redis_server

Json = dict[str, Any]

pytestmark = pytest.mark.slow
FIRST_AGGREGATION = re.compile(r"\b(?:sum|min|max)(?: by \(([^)]*)\))? \(")
QUERIES = [
    pytest.param(panel, target["expr"], id=f"{name.removesuffix('.json')}: {panel['title']} {target['refId']}")
    for name, board in COMMITTED.items()
    for panel in board["panels"]
    for target in panel["targets"]
]
MARKS = [pytest.param(mark["expr"], id=mark["name"]) for mark in COMMITTED["fleet.json"]["annotations"]["list"]]
LONGER_AGO = {"The day before"}  # see test_windows
BEYOND_ONE = {"First-token budget left", "Saved, as a share"}  # below zero: more was spent than allowed, or saved
EDGES_TOP_S = 600.0
SEEN, SEEN_LEAST = "count_over_time(headgate_build_info[2m])", 35


@pytest.fixture(scope="module")
def store() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def stage(store: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """After the scenario, once Prometheus has seen all of it."""
    made, over = Stage(tmp_path_factory.mktemp("grafana")), Event()
    teller = Teller(made.admin_url, "panels", "all")
    telling = Thread(target=teller.keep, args=(lambda: 5, lambda: not over.is_set()))
    try:
        made.open(store.url)
        eventually(lambda: made.value("sum(headgate_build_info)"), bool)
        telling.start()
        made.began = time.time()
        calls = asyncio.run(play(made))
        ended = eventually(lambda: made.value("sum(headgate_requests_total)"), lambda seen: seen >= calls)
        assert ended >= calls
        made.ended = time.time()
        for _ in range(3):  # `increase` guesses at both ends of what was seen: the longer that is, the less it errs
            eventually(lambda: made.value(SEEN), lambda seen: seen >= SEEN_LEAST)
        yield made
    finally:
        over.set()
        if telling.ident is not None:
            telling.join()
        made.close()


def filled(expression: str) -> str:
    """With the choices as they stand in a new dashboard, `All`."""
    expression = expression.replace("$__rate_interval", "1m").replace("$__range", "5m")
    return re.sub(r"\$\{?\w+\}?", ".+", expression)


@pytest.mark.parametrize(("panel", "expression"), QUERIES)
def test_a_panel_has_data_of_the_shape_it_claims(stage: Stage, panel: Json, expression: str) -> None:
    found = stage.query(filled(expression))
    if panel["title"] in LONGER_AGO:
        assert not found
        return
    assert found, "empty"
    numbers = [float(series["value"][1]) for series in found]
    finite = [number for number in numbers if math.isfinite(number)]
    assert finite, "nothing but NaN"
    if SELECTOR.search(expression) and "vector(0)" not in expression:
        assert {frozenset(series["metric"]) for series in found} == {frozenset(claimed(expression))}
    if panel["fieldConfig"]["defaults"]["unit"] == "percentunit" and panel["title"] not in BEYOND_ONE:
        assert all(-1e-9 <= number <= 1 + 1e-9 for number in finite)
    if expression.startswith("histogram_quantile"):
        assert all(0 <= number < EDGES_TOP_S for number in finite)


def claimed(expression: str) -> set[str]:
    """The labels that the outermost aggregation leaves."""
    aggregation = FIRST_AGGREGATION.search(expression)
    if aggregation is None:
        return set()
    labels = labels_of(aggregation[1]) if aggregation[1] else set()
    brought = re.search(r"group_left \(([^)]*)\)", expression)
    labels |= labels_of(brought[1]) if brought else set()
    return labels - ({"le"} if "histogram_quantile" in expression else set())


@pytest.mark.parametrize("expression", MARKS)
def test_what_is_marked_on_every_graph_has_happened(stage: Stage, expression: str) -> None:
    assert stage.query(filled(expression))


def test_two_hundred_calls_of_forty_cents_are_eighty_dollars(stage: Stage) -> None:
    spent = 'headgate_spend_usd_total{route="known"}'
    assert stage.value(f"sum({spent})") == pytest.approx(KNOWN_CALLS * KNOWN_USD, abs=1e-6)
    assert stage.value('sum(headgate_requests_total{route="known",outcome="ok"})') == KNOWN_CALLS
    assert stage.value('headgate_request_cost_usd_bucket{route="known",le="0.5"}') == KNOWN_CALLS
    assert stage.value('headgate_request_cost_usd_bucket{route="known",le="0.25"}') == 0
    assert stage.value(f"sum(increase({spent}[2m]))") == pytest.approx(KNOWN_CALLS * KNOWN_USD, rel=0.05)


def test_begun_is_ended_and_the_metrics_agree_with_the_ledger(stage: Stage) -> None:
    started = stage.value("sum(headgate_calls_started_total)")
    assert started == stage.value("sum(headgate_requests_total)") > 0
    assert stage.value("sum(headgate_in_flight_requests)") == 0
    assert abs(stage.value("sum(headgate_ledger_drift_usd)")) < 1e-6
    assert stage.value("sum(headgate_hedges_fired_total)") == stage.value("sum(headgate_hedges_finished_total)") > 0


def test_an_alert_that_does_not_wait_is_firing(stage: Stage) -> None:
    firing = {series["metric"]["alertname"] for series in stage.query('ALERTS{alertstate="firing"}')}
    assert {"HeadgateUnpriced", "HeadgateBoundHit"} <= firing
    assert not firing & {"HeadgateScrapeMissing", "HeadgateOutcomeMissing", "HeadgateLedgerFailed"}


def test_a_dashboard_made_for_litellm_finds_its_names(stage: Stage) -> None:
    requests = stage.query('litellm_proxy_total_requests_metric_total{requested_model="known"}')
    assert [series["metric"]["api_key_alias"] for series in requests if float(series["value"][1])] == ["planner"]
    assert stage.query('litellm_llm_api_latency_metric_bucket{api_provider="lab",model="known",le="+Inf"}')


@pytest.mark.parametrize("name", COMMITTED)
def test_a_preview_draws_every_panel(stage: Stage, name: str, tmp_path: Path) -> None:
    chromium = needed("chromium")
    text = preview.page(COMMITTED[name], stage.prometheus_url, stage.began, end=stage.ended)
    states = preview.states(chromium, text)
    assert len(states) == len(COMMITTED[name]["panels"])
    assert {title for title, state in states.items() if state != "ok"} <= LONGER_AGO
    folder = os.environ.get("HEADGATE_IMAGES")
    if folder is None and name != "fleet.json":
        return  # each picture takes seconds
    picture = Path(folder or tmp_path) / f"grafana-{name.removesuffix('.json')}.png"
    preview.shoot(chromium, text, picture, height=preview.height(COMMITTED[name]))
    assert picture.read_bytes().startswith(b"\x89PNG")
