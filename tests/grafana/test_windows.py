"""What looks back for days, on days of samples that were filled in: the answers are known."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from grafana import generate
from tests.grafana.stage import Stage, backfilled
from tests.grafana.test_dashboards import COMMITTED

DAYS = 9
STEP_S = 300
PER_DAY = 24 * 3600 // STEP_S
USD_A_DAY = (2.0, 3.0)  # of all days but the last, and of the last
BAD_SHARE = (0.0, 0.02)  # of the calls, likewise
GATE = 'job="headgate",instance="a"'
SPEND = f'headgate_spend_usd_total{{{GATE},agent="a",route="m",provider="up",model="m"}}'
OK, FAILED = (
    f'headgate_requests_total{{{GATE},agent="a",route="m",outcome="{outcome}"}}' for outcome in ("ok", "timeout")
)
SHARE = 'headgate:prompt_cache:share_1h{job="headgate",agent="a"}'

pytestmark = pytest.mark.slow


def samples(end_s: int) -> Iterator[str]:
    """OpenMetrics with times: one series after another, each in order."""
    first = end_s - DAYS * 24 * 3600
    rows: dict[str, list[float]] = {SPEND: [], OK: [], FAILED: [], SHARE: []}
    spend = ok = failed = 0.0
    for step in range(DAYS * PER_DAY + 1):
        last_day = step > (DAYS - 1) * PER_DAY
        for name, value in ((SPEND, spend), (OK, ok), (FAILED, failed), (SHARE, 0.3 if last_day else 0.8)):
            rows[name].append(value)
        spend += USD_A_DAY[step >= (DAYS - 1) * PER_DAY] / PER_DAY
        bad = BAD_SHARE[step >= (DAYS - 1) * PER_DAY]
        ok, failed = ok + 100 * (1 - bad), failed + 100 * bad
    for kind, names in (("counter", (SPEND,)), ("counter", (OK, FAILED)), ("gauge", (SHARE,))):
        family = names[0].partition("{")[0]
        yield f"# TYPE {family.removesuffix('_total')} {kind}"
        for name in names:
            yield from (f"{name} {value:.9f} {first + step * STEP_S}" for step, value in enumerate(rows[name]))
    yield "# EOF"


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, int]]:
    folder, end_s = tmp_path_factory.mktemp("past"), int(time.time()) - 600
    file, settings = folder / "samples.om", folder / "prometheus.json"
    file.write_text("\n".join(samples(end_s)) + "\n")
    settings.write_text(json.dumps({"global": {"scrape_interval": "1m"}}))
    backfilled(file, folder / "data")
    stage = Stage(folder)
    try:
        stage.serve(folder / "data", settings)
        yield stage, end_s
    finally:
        stage.close()


def answer(past: tuple[Stage, int], expression: str) -> float:
    stage, end_s = past
    (found,) = stage.query(re.sub(r"\$\w+", ".+", expression), at=end_s)
    return float(found["value"][1])


def panel(title: str) -> str:
    (found,) = [panel for panel in COMMITTED["agents.json"]["panels"] if panel["title"] == title]
    expression: str = found["targets"][0]["expr"]
    return expression


@pytest.mark.parametrize(
    ("title", "usd"),
    [("Last 24 hours", USD_A_DAY[1]), ("The day before", USD_A_DAY[0]), ("30-day pace", 30 * USD_A_DAY[1])],
)
def test_a_panel_that_looks_back_for_a_day_is_right(past: tuple[Stage, int], title: str, usd: float) -> None:
    assert answer(past, panel(title)) == pytest.approx(usd, rel=0.01)


@pytest.mark.parametrize(("window", "bad"), [("1h", 0.02), ("6h", 0.02), ("3d", 0.02 / 3)])
def test_the_share_of_failures_over_days_is_right(past: tuple[Stage, int], window: str, bad: float) -> None:
    rules = rule_expressions("recordings.yaml")
    assert answer(past, rules[f"headgate:slo_availability:bad_ratio_{window}"]) == pytest.approx(bad, rel=0.01)


def test_a_drop_of_the_prompt_cache_is_seen_against_a_week(past: tuple[Stage, int]) -> None:
    assert answer(past, rule_expressions("caches.yaml")["HeadgatePromptCacheDrop"]) == pytest.approx(0.3)


def test_half_as_much_again_is_no_anomaly_of_spend(past: tuple[Stage, int]) -> None:
    stage, end_s = past
    assert not stage.query(rule_expressions("money.yaml")["HeadgateSpendAnomaly"], at=end_s)


def rule_expressions(file: str) -> dict[str, str]:
    groups = yaml.safe_load((Path(generate.RULES) / file).read_text())["groups"]
    return {rule.get("alert") or rule.get("record"): rule["expr"] for group in groups for rule in group["rules"]}
