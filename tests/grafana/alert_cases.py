"""For each alert a world in which it fires, with an instant before and one after at which it must be silent.

Values are in promtool's notation: `0+60x20` counts up by 60 twenty times, `5x10` stays, `_` is no sample.
"""

from __future__ import annotations

from dataclasses import dataclass

HERE = ("job", "instance")
GATE = 'job="headgate",instance="a"'
MODEL = 'route="m"'
SPEND = f'headgate_spend_usd_total{{{GATE},agent="a",{MODEL},provider="up",model="m"}}'
BUDGET = f'{GATE},budget="agent:a",window="day"'


@dataclass(frozen=True)
class Case:
    """Minutes. `labels`: those that the firing alert has, beside its severity."""

    series: dict[str, str]
    fires: int
    silent: tuple[int, int] | tuple[int, int, int]
    labels: tuple[str, ...] = HERE
    step: int = 1


def calls(outcome: str) -> str:
    return f'headgate_requests_total{{{GATE},agent="a",{MODEL},outcome="{outcome}"}}'


def bucket(metric: str, edge: str, own: str = "") -> str:
    return f'headgate_{metric}_bucket{{{GATE}{own},le="{edge}"}}'


def slow(metric: str, edge: str, next_edge: str) -> dict[str, str]:
    """From the 20th to the 50th minute everything takes longer than `edge`."""
    resumed = "0+60x20 1200x30 1260+60x30"
    return {bucket(metric, edge): resumed, bucket(metric, next_edge): "0+60x81", bucket(metric, "+Inf"): "0+60x81"}


def once(metric: str, own: str = "", labels: tuple[str, ...] = ()) -> Case:
    """It happens in the eleventh minute, and is told for an hour."""
    return Case({f"headgate_{metric}{{{GATE}{own}}}": "0x10 5x100"}, 15, (5, 80), (*HERE, *labels))


OBJECTIVES = {
    "HeadgateAvailabilityFastBurn": Case(
        {calls("ok"): "0+60x300", calls("upstream_error"): "0x60 12+12x59 720x180"}, 110, (30, 70, 130), ("job",)
    ),
    "HeadgateAvailabilityMidBurn": Case(
        {calls("ok"): "0+60x700", calls("timeout"): "0x360 12+12x119 1440x200"}, 460, (300, 400, 520), ("job",)
    ),
    "HeadgateAvailabilitySlowBurn": Case(
        {calls("ok"): "0+600x400", calls("proxy_error"): "0x100 6+6x199 1200x100"},
        2500,
        (900, 1500, 3400),
        ("job",),
        step=10,
    ),
    "HeadgateTtftFastBurn": Case(
        {
            bucket("time_to_first_token_seconds", "2.0", f",{MODEL}"): "0+60x60 3600x60 3660+60x100",
            f"headgate_time_to_first_token_seconds_count{{{GATE},{MODEL}}}": "0+60x220",
        },
        115,
        (40, 90, 130),
        ("job",),
    ),
}
RELIABILITY = {
    "HeadgateNoHealthyTarget": Case(
        {f"headgate_route_healthy_targets{{{GATE},{MODEL}}}": "2 0 0 0 1 1 1"}, 3, (0, 6), (*HERE, "route")
    ),
    "HeadgateBreakerOpen": Case(
        {f'headgate_breaker_state{{{GATE},target="up/m",state="open"}}': "0 1 1 1 1 0 0"}, 4, (2, 6), (*HERE, "target")
    ),
    "HeadgateHedgeWaste": Case(
        {
            f'headgate_hedge_wasted_usd_total{{{GATE},{MODEL},basis="reported"}}': "0+0x30 0.1+0.1x60 6.1+0x200",
            SPEND: "0+1x300",
        },
        80,
        (30, 250),
    ),
    "HeadgateAttemptBudgetEmpty": Case(
        {f'headgate_attempt_budget_refused_total{{{GATE},role="retry"}}': "0x10 1+1x10 11+0x30"}, 18, (10, 40)
    ),
    "HeadgateCacheDiskFailing": Case(
        {f"headgate_cache_disk_failures_total{{{GATE}}}": "0x10 1+1x10 11+0x30"}, 18, (10, 40)
    ),
}
CACHES = {
    "HeadgatePromptCacheDrop": Case(
        {
            f'headgate_tokens_total{{{GATE},agent="a",kind="input_cached"}}': "0+80x600 48000x200 48080+80x200",
            f'headgate_tokens_total{{{GATE},agent="a",kind="input_uncached"}}': "0+20x1100",
        },
        760,
        (500, 605, 950),
        ("job", "agent"),
    ),
    "HeadgateSemanticCacheWrong": Case(
        {
            f"headgate_semantic_switched_off{{{GATE},{MODEL}}}": "0 0 1 1 1 1 1 1 1 1 0 0 0",
            f"headgate_semantic_false_hit_ratio{{{GATE},{MODEL}}}": "0x4 0.04x20",
        },
        9,
        (1, 12),
        (*HERE, "route"),
    ),
}
MONEY = {
    "HeadgateBudgetForecast": Case(
        {
            f"headgate_budget_spent_usd{{{BUDGET}}}": "10x60 10.5+0.5x60 40.5x200",
            f"headgate_budget_limit_usd{{{BUDGET}}}": "100x320",
            f"headgate_budget_resets_timestamp_seconds{{{BUDGET}}}": "172800x320",
        },
        115,
        (50, 250),
        (*HERE, "budget", "window"),
    ),
    "HeadgateBudgetNearlySpent": Case(
        {
            f"headgate_budget_spent_usd{{{BUDGET}}}": "80x5 89x5 10x5",
            f"headgate_budget_held_usd{{{BUDGET}}}": "2x20",
            f"headgate_budget_limit_usd{{{BUDGET}}}": "100x20",
        },
        8,
        (3, 14),
        (*HERE, "budget", "window"),
    ),
    "HeadgateBudgetOverrun": Case(
        {f'headgate_budget_overrun_usd_total{{{GATE},provider="up"}}': "0x10 1x100", SPEND: "0+1x110"}, 15, (5, 80)
    ),
    "HeadgateSpendAnomaly": Case(
        {SPEND: "0+0.05x300 16+1x11 27.05+0.05x40"}, 1535, (1400, 1505, 1650), ("job",), step=5
    ),
    "HeadgateUsageClamped": Case(
        {
            f'headgate_usage_clamped_total{{{GATE},provider="up"}}': "0x10 5x100",
            f'headgate_upstream_attempts_total{{{GATE},target="up/m",role="first",result="ok"}}': "0+10x110",
        },
        15,
        (5, 80),
    ),
    "HeadgateGpuOvercharged": Case(
        {
            f'headgate_gpu_charged_usd_total{{{GATE},provider="up"}}': "0+0.9x60 55.2+1.2x59 126.5+0.5x150",
            f'headgate_gpu_elapsed_usd_total{{{GATE},provider="up"}}': "0+1x300",
        },
        118,
        (50, 230),
        (*HERE, "provider"),
    ),
    "HeadgateUnpriced": once("unpriced_requests_total", ',provider="up"', ("provider",)),
    "HeadgatePricesOld": Case(
        {f"headgate_prices_timestamp_seconds{{{GATE}}}": "-3887000x120 0x20"}, 100, (10, 60, 130)
    ),
    "HeadgateLedgerLag": Case({f"headgate_ledger_lag_seconds{{{GATE}}}": "0x5 40x5 0x5"}, 9, (7, 13)),
    "HeadgateLedgerFailed": Case({f'headgate_ledger_writes_total{{{GATE},result="failed"}}': "0x10 1x30"}, 13, (5, 25)),
    "HeadgateLedgerDrift": Case({f"headgate_ledger_drift_usd{{{GATE}}}": "0x5 -0.05x20 0x5"}, 23, (15, 29)),
}
ITSELF = {
    "HeadgateScrapeMissing": Case({f"headgate_build_info{{{GATE}}}": "1x5 _x12 1x9"}, 15, (5, 25), ()),
    "HeadgateOutcomeMissing": Case(
        {  # at 100 calls a second a scrape may be twenty of them apart; at rest a single one is missing
            f"headgate_calls_started_total{{{GATE}}}": "0+6000x20 120003x60",
            calls("ok"): "0+6000x20 120000x30 120001x30",
            f"headgate_in_flight_requests{{{GATE},{MODEL}}}": "20x20 2x60",
        },
        40,
        (20, 28, 60),
    ),
    "HeadgateOverheadHigh": Case(slow("overhead_seconds", "0.025", "0.05"), 40, (15, 25, 60)),
    "HeadgateSharedStoreOut": Case(
        {f'headgate_shared_breaker_state{{{GATE},state="open"}}': "0 1 1 1 1 1 0 0"}, 4, (2, 7)
    ),
    "HeadgateLoopLag": Case(slow("event_loop_lag_seconds", "0.1", "0.25"), 35, (15, 23, 60)),
    "HeadgateReloadFailed": once("config_reloads_total", ',result="error"'),
    "HeadgateMetricsOverflow": once("metrics_overflow_total", ',metric="tokens_total"', ("metric",)),
    "HeadgateObserverError": once("observer_errors_total", ',observer="log"', ("observer",)),
    "HeadgateBoundHit": once("bound_hits_total", ',bound="runs"', ("bound",)),
}
CASES = {**OBJECTIVES, **RELIABILITY, **CACHES, **MONEY, **ITSELF}
