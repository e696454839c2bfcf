"""The alerts: everything they name is declared, each has a runbook, fires when it should, and ends again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.grafana.test_dashboards import SELECTOR, unknown

Json = dict[str, Any]

FOLDER = Path(__file__).parents[2] / "grafana/rules"
FILES = sorted(FOLDER.glob("*.yaml"))
RULES = [rule for file in FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
GATE = 'job="headgate",instance="a"'
NEEDS_PROMTOOL = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")

# What is observed, once a minute; where it fires; where it must be silent again, or still.
CASES = {
    "HeadgateNoHealthyTarget": ({f'headgate_route_healthy_targets{{{GATE},route="m"}}': "2 0 0 0 1 1 1"}, 3, (0, 6)),
    "HeadgateBreakerOpen": (
        {f'headgate_breaker_state{{{GATE},target="up/m",state="open"}}': "0 1 1 1 1 0 0"},
        4,
        (2, 6),
    ),
    "HeadgateHedgeWaste": (
        {
            f'headgate_hedge_wasted_usd_total{{{GATE},route="m",basis="reported"}}': "0+0x30 0.1+0.1x60 6.1+0x200",
            f'headgate_spend_usd_total{{{GATE},agent="a",route="m",provider="up",model="m"}}': "0+1x300",
        },
        80,
        (30, 250),
    ),
    "HeadgatePromptCacheDrop": (
        {
            f'headgate_tokens_total{{{GATE},agent="a",kind="input_cached"}}': "0+80x600 48000x400",
            f'headgate_tokens_total{{{GATE},agent="a",kind="input_uncached"}}': "0+20x600 12020+100x400",
        },
        720,
        (500, 605),
    ),
    "HeadgateSemanticCacheWrong": (
        {
            f'headgate_semantic_switched_off{{{GATE},route="m"}}': "0 0 1 1 1 1 1 1 1 1 0 0 0",
            f'headgate_semantic_false_hit_ratio{{{GATE},route="m"}}': "0x4 0.04x20",
        },
        9,
        (1, 12),
    ),
    "HeadgateAttemptBudgetEmpty": (
        {f'headgate_attempt_budget_refused_total{{{GATE},role="retry"}}': "0x10 1+1x10 11+0x30"},
        18,
        (10, 40),
    ),
    "HeadgateCacheDiskFailing": (
        {f"headgate_cache_disk_failures_total{{{GATE}}}": "0x10 1+1x10 11+0x30"},
        18,
        (10, 40),
    ),
}


def test_every_alert_has_its_case() -> None:
    assert {rule["alert"] for rule in RULES} == set(CASES)


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_names_what_is_declared_and_says_what_to_do(rule: Json) -> None:
    named = re.sub(r"(headgate_\w+)(?![\w{])", r"\1{}", rule["expr"])  # as the dashboards write it
    assert SELECTOR.search(named)
    assert not unknown(named)
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["for"]
    assert rule["annotations"]["summary"].endswith(".")
    assert len(rule["annotations"]["runbook"]) > 150


@NEEDS_PROMTOOL
@pytest.mark.parametrize("alert", CASES)
def test_it_fires_when_it_should_and_is_silent_before_and_after(alert: str, tmp_path: Path) -> None:
    series, fires, silent = CASES[alert]
    rule = next(rule for rule in RULES if rule["alert"] == alert)
    sample = next(iter(series))
    grouped = {label.strip() for label in re.findall(r"by \(([^)]*)\)", rule["expr"])[0].split(",")}
    labels = {name: value for name, value in re.findall(r'(\w+)="([^"]*)"', sample) if name in grouped}
    summary = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], rule["annotations"]["summary"])
    firing = {
        "exp_labels": labels | rule["labels"],
        "exp_annotations": {"summary": summary, "runbook": rule["annotations"]["runbook"]},
    }
    tests = [
        {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": [firing] if minute == fires else []}
        for minute in sorted((fires, *silent))
    ]
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    case = {"interval": "1m", "input_series": inputs, "alert_rule_test": tests}
    file = tmp_path / "case.yaml"
    file.write_text(
        json.dumps({"rule_files": [str(found) for found in FILES], "evaluation_interval": "30s", "tests": [case]})
    )
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
