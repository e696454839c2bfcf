"""The lint of the dashboards: against the generator, against the table of metrics, against rules of form."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from grafana import generate
from proxy.telemetry.catalog import FAMILIES
from proxy.telemetry.family import PREFIX, Family

Json = dict[str, Any]

COMMITTED = {path.name: json.loads(path.read_text()) for path in sorted(generate.FOLDER.glob("*.json"))}
EVERYWHERE = {"job", "instance"}
SELECTOR = re.compile(r"(?<![\w:])" + PREFIX + r"(\w+)\{([^}]*)\}(\[[^]]+\])?")
MATCHER = re.compile(r'(\w+)(=~|!~|=|!=)"([^"]*)"')
GROUPS = re.compile(r"\bby \(([^)]*)\)")
BOARDS = pytest.mark.parametrize("board", COMMITTED.values(), ids=COMMITTED.keys())


def families() -> dict[str, tuple[Family, set[str]]]:
    """By the name that a query uses: a histogram has three, its buckets a label more."""
    named: dict[str, tuple[Family, set[str]]] = {}
    for family in FAMILIES:
        labels = {label.name for label in family.labels} | EVERYWHERE
        if family.ladder:
            named |= {f"{family.name}_{part}": (family, labels) for part in ("count", "sum")}
            named[f"{family.name}_bucket"] = (family, labels | {"le"})
        else:
            named[family.name] = (family, labels)
    return named


def expressions(board: Json) -> Iterator[tuple[str, str, str]]:
    """Where it stands, the expression, its legend."""
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], annotation["expr"], annotation["textFormat"]


def unknown(expression: str) -> list[str]:
    """What an expression uses and the gate does not declare."""
    named, wrong = families(), []
    groups = {label.strip() for group in GROUPS.findall(expression) for label in group.split(",")}
    for name, matchers, _ in SELECTOR.findall(expression):
        if name not in named:
            wrong.append(name)
            continue
        family, labels = named[name]
        wrong += [f"{name} by {label}" for label in groups - labels]
        listed = {label.name: label.values for label in family.labels if label.values is not None}
        for label, _, text in MATCHER.findall(matchers):
            if label not in labels:
                wrong.append(f"{name}{{{label}}}")
            elif label in listed:
                wrong += [f"{name}{{{label}={value}}}" for value in text.split("|") if value not in listed[label]]
    return wrong


def test_the_committed_dashboards_are_the_generated_ones() -> None:
    generated = generate.dashboards()
    assert set(generated) == set(COMMITTED)
    for name, board in generated.items():
        assert generate.text(board) == (generate.FOLDER / name).read_text(), "run: python -m grafana.generate"


@BOARDS
def test_everything_a_query_names_is_declared(board: Json) -> None:
    seen = 0
    for where, expression, _ in expressions(board):
        assert PREFIX in expression and not unknown(expression), where
        assert len(SELECTOR.findall(expression)) == expression.count(PREFIX), where
        seen += 1
    assert seen >= len(board["panels"])


@pytest.mark.parametrize(
    "expression",
    [
        "headgate_request_total{}",
        "headgate_overhead_seconds{}",
        'headgate_requests_total{target="x"}',
        'headgate_requests_total{outcome=~"ok|fine"}',
        "sum by (code) (headgate_requests_total{})",
        "sum by (le) (headgate_overhead_seconds_count{})",
    ],
)
def test_the_lint_finds_what_is_not_declared(expression: str) -> None:
    assert unknown(expression)


@BOARDS
def test_every_query_is_confined_to_the_chosen_job_and_instance(board: Json) -> None:
    for where, expression, _ in expressions(board):
        for _, matchers, _ in SELECTOR.findall(expression):
            assert matchers.endswith('job=~"$job",instance=~"$instance"'), where


@BOARDS
def test_counters_are_rated_over_the_range_that_grafana_chooses(board: Json) -> None:
    for where, expression, _ in expressions(board):
        for name, _, interval in SELECTOR.findall(expression):
            family = families()[name][0]
            expected = ("",) if family.kind == "gauge" else ("[$__rate_interval]", "[$__range]")
            assert interval in expected, f"{where}: {name}{interval}"


@BOARDS
def test_legends_use_labels_that_the_grouping_leaves(board: Json) -> None:
    for where, expression, legend in expressions(board):
        groups = {label.strip() for group in GROUPS.findall(expression) for label in group.split(",")}
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= groups, where


@BOARDS
def test_every_variable_in_use_is_offered_and_every_offered_one_is_used(board: Json) -> None:
    offered = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps([board["panels"], board["annotations"]])))
    assert used == offered
    for variable in board["templating"]["list"][1:]:
        assert variable["allValue"] == ".+" and variable["multi"] and variable["includeAll"]
        metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
        assert label == variable["name"]
        name = metric.partition("{")[0].removeprefix(PREFIX)
        assert label in families()[name][1]


@BOARDS
def test_every_panel_says_what_it_shows_in_which_unit_and_what_to_do(board: Json) -> None:
    assert board["uid"].startswith("headgate-") and 39 <= board["schemaVersion"] <= 41
    assert board["tags"] == ["headgate"] and len(board["panels"]) <= 16
    assert all(link["keepTime"] and link["includeVars"] for link in board["links"]) and board["links"]
    for panel in board["panels"]:
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


def test_dashboards_are_told_apart_by_their_uid() -> None:
    uids = [board["uid"] for board in COMMITTED.values()]
    assert len(set(uids)) == len(uids)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@BOARDS
def test_prometheus_can_parse_every_query(board: Json, tmp_path: Path) -> None:
    rules = [
        {"record": f"checked:query{place}", "expr": re.sub(r"\$__\w+", "5m", expression)}
        for place, (_, expression, _) in enumerate(expressions(board))
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "checked", "rules": rules}]}))
    checked = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout
