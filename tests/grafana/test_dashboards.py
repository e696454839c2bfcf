"""The lint of the dashboards: against the generator, against the table of metrics, against rules of form."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from grafana import generate
from proxy.telemetry.catalog import FAMILIES
from proxy.telemetry.family import PREFIX
from tests.grafana.expressions import SELECTOR, aggregations, expressions, families, unknown
from tests.grafana.stage import needed

Json = dict[str, Any]

COMMITTED = {path.name: json.loads(path.read_text()) for path in sorted(generate.FOLDER.glob("*.json"))}
BOARDS = pytest.mark.parametrize("board", COMMITTED.values(), ids=COMMITTED.keys())
NOT_OURS = ("ALERTS{", "headgate:", "process_")  # what Prometheus, our rules and the client make
ODD_WINDOWS = {  # what is not about the time that is shown
    "Last 24 hours": "[1d]",
    "The day before": "[1d]",
    "30-day pace": "[6h]",
    "Hours to empty": "[1h]",
    "Calls unaccounted for": "",
}
SHOWN_NOWHERE = {  # declared, and on no panel
    "hedge_wasted_tokens_total": "their cost is",
    "semantic_switched_off": "an alert",
    "config_last_success_timestamp_seconds": "reloads are marked on every graph",
    "prices_timestamp_seconds": "an alert",
}


def test_everything_that_is_written_is_the_generated() -> None:
    stale = [file.name for file, content in generate.everything().items() if file.read_text() != content]
    assert not stale, "run: python -m grafana.generate"
    written = {*generate.FOLDER.iterdir(), *generate.RULES.iterdir()}
    assert written <= set(generate.everything()), "a file that nobody writes any more"


@BOARDS
def test_everything_a_query_names_is_declared(board: Json) -> None:
    for where, expression, _ in expressions(board):
        assert not unknown(expression), where
        assert PREFIX in expression or any(name in expression for name in NOT_OURS), where
        assert len(SELECTOR.findall(expression)) == expression.count(PREFIX), where
    assert all(panel["targets"] or panel["type"] == "text" for panel in board["panels"])


@pytest.mark.parametrize(
    "expression",
    [
        "headgate_request_total{}",
        "headgate_overhead_seconds{}",
        'headgate_requests_total{target="x"}',
        'headgate_requests_total{outcome=~"ok|fine"}',
        "sum by (code) (headgate_requests_total{})",
        "sum by (le) (headgate_overhead_seconds_count{})",
        "sum by (job) (sum by (route, job) (headgate_workers{}))",
        'headgate_overhead_seconds_bucket{le="0.3"}',
        "headgate:slo_ttft:bad_ratio_2h",
    ],
)
def test_the_lint_finds_what_is_not_declared(expression: str) -> None:
    assert unknown(expression)


@BOARDS
def test_every_query_is_confined_to_the_chosen_job_and_instance(board: Json) -> None:
    for where, expression, _ in expressions(board):
        for _, matchers, _ in SELECTOR.findall(expression):
            assert matchers.endswith('job=~"$job",instance=~"$instance"'), where
        for matchers in re.findall(r"headgate:[\w:]+(.*?)(?: /|$)", expression):
            assert matchers == '{job=~"$job"}', where


@BOARDS
def test_counters_are_rated_over_the_range_that_grafana_chooses(board: Json) -> None:
    for where, expression, _ in expressions(board):
        for name, _, interval in SELECTOR.findall(expression):
            usual = ("",) if families()[name][0].kind == "gauge" else ("[$__rate_interval]", "[$__range]")
            assert interval in (*usual, ODD_WINDOWS.get(where)), f"{where}: {name}{interval}"


@BOARDS
def test_a_total_over_what_is_shown_is_asked_once(board: Json) -> None:
    for panel in board["panels"]:
        for target in panel["targets"]:
            if "$__range" in target["expr"]:
                assert target["instant"] and panel["type"] in ("stat", "table"), panel["title"]


@BOARDS
def test_legends_use_labels_that_the_grouping_leaves(board: Json) -> None:
    for where, expression, legend in expressions(board):
        groups = {label for labels, _ in aggregations(expression) for label in labels}
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= groups, where


@BOARDS
def test_a_missing_part_is_a_nothing_only_in_a_single_number(board: Json) -> None:
    for panel in board["panels"]:
        assert panel["type"] == "stat" or not any("vector(0)" in target["expr"] for target in panel["targets"])


@BOARDS
def test_every_variable_in_use_is_offered_and_every_offered_one_is_used(board: Json) -> None:
    offered = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps([board[part] for part in ("panels", "annotations", "links")])))
    assert used == offered
    for variable in board["templating"]["list"]:
        if variable["type"] != "query":
            continue
        assert variable["allValue"] == ".+" and variable["multi"] and variable["includeAll"]
        metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
        assert label == variable["name"]
        name = metric.partition("{")[0].removeprefix(PREFIX)
        assert label in families()[name][1]


@BOARDS
def test_every_panel_says_what_it_shows_in_which_unit_and_what_to_do(board: Json) -> None:
    assert board["uid"].startswith("headgate-") and 39 <= board["schemaVersion"] <= 41
    assert board["tags"] == ["headgate"] and len(board["panels"]) <= 16
    others, console = board["links"]
    assert others["keepTime"] and others["includeVars"] and console["url"] == "$console"
    for panel in (panel for panel in board["panels"] if panel["type"] != "text"):
        assert panel["title"] and len(panel["description"]) > 40, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert {target["datasource"]["uid"] for target in (panel, *panel["targets"])} == {"${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def cells(panel: Json) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    return {
        (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    }


@BOARDS
def test_panels_have_places_of_their_own_on_the_grid(board: Json) -> None:
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        assert max(x for x, _ in cells(panel)) < 24, panel["title"]
    for one, other in combinations(board["panels"], 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])


def test_dashboards_are_told_apart_by_their_uid_and_links_lead_to_one() -> None:
    uids = [board["uid"] for board in COMMITTED.values()]
    assert len(set(uids)) == len(uids)
    linked = set(re.findall(r"/d/([\w-]+)", json.dumps(list(COMMITTED.values()))))
    assert linked and linked <= set(uids)


def test_every_metric_is_on_some_panel() -> None:
    asked = " ".join(expression for board in COMMITTED.values() for _, expression, _ in expressions(board))
    missing = {family.name for family in FAMILIES if f"{PREFIX}{family.name}" not in asked}
    assert not missing - set(SHOWN_NOWHERE)


@BOARDS
def test_prometheus_can_parse_every_query(board: Json, tmp_path: Path) -> None:
    rules = [
        {"record": f"checked:query{place}", "expr": re.sub(r"\$__\w+", "5m", expression)}
        for place, (_, expression, _) in enumerate(expressions(board))
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "checked", "rules": rules}]}))
    checked = subprocess.run(
        [needed("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout
