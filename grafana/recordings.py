"""Recorded series: quantiles and pace that dashboards show for long times, and the error ratios that objectives burn.

A ratio exists only while there is something to judge. Bad is what an upstream or the gate did; refusals by a rule and
faulty requests are no part of it, so a budget that is spent burns no objective. Names: level, metric, operation.
"""

from __future__ import annotations

from grafana.boards.agents import INPUT
from grafana.rule import Recording

BAD = 'outcome=~"upstream_error|timeout|proxy_error"'
JUDGED = 'outcome!~"client_error|rejected"'
CALLS, FIRST = "headgate_requests_total", "headgate_time_to_first_token_seconds"
AVAILABILITY_WINDOWS = ("5m", "30m", "1h", "6h", "3d")
TTFT_WINDOWS = ("5m", "1h", "6h")


def per_second(selector: str, window: str, by: str = "job") -> str:
    return f"sum by ({by}) (rate({selector}[{window}]))"


def _availability(window: str) -> Recording:
    bad, judged = per_second(f"{CALLS}{{{BAD}}}", window), per_second(f"{CALLS}{{{JUDGED}}}", window)
    return Recording(f"headgate:slo_availability:bad_ratio_{window}", f"{bad} / ({judged} > 0)")


def _first_token(window: str) -> Recording:
    prompt, every = per_second(f'{FIRST}_bucket{{le="2.0"}}', window), per_second(f"{FIRST}_count{{}}", window)
    return Recording(f"headgate:slo_ttft:bad_ratio_{window}", f"1 - {prompt} / ({every} > 0)")


def _quantile(q: float, name: str) -> Recording:
    buckets = per_second(f"{FIRST}_bucket{{}}", "5m", "job, route, le")
    return Recording(f"headgate:ttft:{name}", f"histogram_quantile({q}, {buckets})")


def _cached_share() -> Recording:
    tokens = "headgate_tokens_total"
    cached = per_second(f'{tokens}{{kind="input_cached"}}', "1h", "job, agent")
    return Recording(
        "headgate:prompt_cache:share_1h", f"{cached} / ({per_second(f'{tokens}{{{INPUT}}}', '1h', 'job, agent')} > 0)"
    )


LONG = ("6h", "3d")
USUAL = (
    _quantile(0.95, "p95_5m"),
    _quantile(0.99, "p99_5m"),
    Recording("headgate:spend_usd:rate5m", per_second("headgate_spend_usd_total{}", "5m", "job, agent")),
    *(_availability(window) for window in AVAILABILITY_WINDOWS if window not in LONG),
    *(_first_token(window) for window in TTFT_WINDOWS if window not in LONG),
)
SLOW = (
    _cached_share(),
    *(_availability(window) for window in AVAILABILITY_WINDOWS if window in LONG),
    *(_first_token(window) for window in TTFT_WINDOWS if window in LONG),
)
