"""The rules: everything they name is declared, each alert has a runbook, fires when it should, and ends again."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana import generate
from tests.effort import some
from tests.grafana.alert_cases import CASES, Case
from tests.grafana.expressions import SELECTOR, aggregations, bare, unknown
from tests.grafana.stage import needed

Json = dict[str, Any]

FILES = sorted(generate.RULES.glob("*.yaml"))
RECORDINGS = str(generate.RULES / "recordings.yaml")
RULES = [
    (file, rule) for file in FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: (file, rule) for file, rule in RULES if "alert" in rule}
EVALUATED_M = 4  # below the five minutes after which a sample is stale


def test_every_alert_has_its_case() -> None:
    assert set(ALERTS) == set(CASES)


@pytest.mark.parametrize("rule", [rule for _, rule in RULES], ids=lambda rule: rule.get("alert") or rule.get("record"))
def test_a_rule_names_what_is_declared(rule: Json) -> None:
    named = bare(rule["expr"])
    assert SELECTOR.search(named) or "headgate:" in named
    assert not unknown(named)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_it_means_and_what_to_do(alert: str) -> None:
    _, rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket") and rule["for"]
    assert rule["annotations"]["summary"].endswith(".")
    means, causes, todo = re.split(r" Causes: | What to do: ", rule["annotations"]["runbook"])
    assert all(part[0].isalnum() or part[0] in "`<" for part in (means, causes, todo))
    assert means.endswith(".") and causes.endswith(".") and len(todo) > 30
    assert f"### {alert}\n" in generate.RUNBOOKS.read_text()


@pytest.mark.parametrize("rule", [rule for _, rule in RULES if "record" in rule], ids=lambda rule: rule["record"])
def test_a_recorded_series_keeps_the_job(rule: Json) -> None:
    assert all("job" in labels for labels, _ in aggregations(rule["expr"]))


def test_prometheus_can_load_every_rule() -> None:
    checked = subprocess.run(
        [needed("promtool"), "check", "rules", *map(str, FILES)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("alert", some(tuple(CASES)))
def test_it_fires_when_it_should_and_is_silent_before_and_after(alert: str, tmp_path: Path) -> None:
    case, (file, rule) = CASES[alert], ALERTS[alert]
    labels = observed(case)
    told = {
        name: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
        for name, text in rule["annotations"].items()
    }
    firing = {"exp_labels": labels | rule["labels"], "exp_annotations": told}
    tests = [
        {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": [firing] if minute == case.fires else []}
        for minute in sorted((case.fires, *case.silent))
    ]
    inputs = [{"series": name, "values": values} for name, values in case.series.items()]
    world = {"interval": f"{case.step}m", "input_series": inputs, "alert_rule_test": tests}
    run(tmp_path, [RECORDINGS, str(file)], world, step=case.step)


def test_the_names_of_litellm_carry_the_same_numbers(tmp_path: Path) -> None:
    gate = 'job="headgate",instance="a"'
    series = {
        f'headgate_requests_total{{{gate},agent="planner",route="large",outcome="ok"}}': "7",
        f'headgate_requests_total{{{gate},agent="planner",route="large",outcome="timeout"}}': "2",
        f'headgate_tokens_total{{{gate},agent="planner",provider="up",model="m",kind="input_cached"}}': "30",
        f'headgate_tokens_total{{{gate},agent="planner",provider="up",model="m",kind="reasoning"}}': "5",
        f'headgate_target_info{{{gate},target="up/m",provider="up",model="m"}}': "1",
        f'headgate_breaker_state{{{gate},target="up/m",state="open"}}': "1",
        f'headgate_breaker_state{{{gate},target="up/m",state="half_open"}}': "0",
        f'headgate_budget_limit_usd{{{gate},budget="team:research",window="day"}}': "10",
        f'headgate_budget_spent_usd{{{gate},budget="team:research",window="day"}}': "4",
    }
    here = 'instance="a", job="headgate"'
    key, model = 'api_key_alias="planner", ', ', requested_model="large"}'
    expected = {
        "litellm_proxy_total_requests_metric_total": (f"{{{key}{here}{model}", 9),
        "litellm_proxy_failed_requests_metric_total": (f"{{{key}{here}{model}", 2),
        "litellm_input_tokens_metric_total": (f'{{{key}{here}, model="m"}}', 30),
        "litellm_output_tokens_metric_total": (f'{{{key}{here}, model="m"}}', 5),
        "litellm_deployment_state": (f'{{api_provider="up", {here}, litellm_model_name="m"}}', 2),
        "litellm_remaining_team_budget_metric": (f'{{{here}, team_alias="research"}}', 6),
    }
    tests = [
        {"expr": name, "eval_time": "1m", "exp_samples": [{"labels": name + labels, "value": value}]}
        for name, (labels, value) in expected.items()
    ]
    inputs = [{"series": name, "values": f"{value}x3"} for name, value in series.items()]
    world = {"interval": "1m", "input_series": inputs, "promql_expr_test": tests}
    run(tmp_path, [str(generate.RULES / "litellm.yaml")], world)


def observed(case: Case) -> dict[str, str]:
    """The labels of the firing alert, out of its series."""
    known = {name: value for series in case.series for name, value in re.findall(r'(\w+)="([^"]*)"', series)}
    return {label: known[label] for label in case.labels}


def run(folder: Path, files: list[str], world: Json, *, step: int = 1) -> None:
    file = folder / "case.yaml"
    # Groups are evaluated in any order: what one has recorded must not be stale when another looks for it first.
    every = min(step, EVALUATED_M)
    file.write_text(json.dumps({"rule_files": files, "evaluation_interval": f"{every}m", "tests": [world]}))
    done = subprocess.run([needed("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
