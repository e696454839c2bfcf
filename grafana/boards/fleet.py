"""Is it fine now? Rates and errors on top, causes below, who spends and what fails at the bottom."""

from __future__ import annotations

from grafana.frame import dashboard
from grafana.panels import Json, column_unit, lines, right, stack, stat, table, traced
from grafana.queries import chosen, gauge, increase, or_nothing, quantile, rate, share

BAD = 'outcome=~"upstream_error|timeout|proxy_error"'
JUDGED = 'outcome!~"client_error|rejected"'
AGENT_BOARD = "/d/headgate-agents?var-agent=${__value.text}&${__url_time_range}"
FIRST = chosen("time_to_first_token_seconds", "route")


def now() -> list[Json]:
    failed, counted = (chosen("requests_total", "route", own) for own in (BAD, JUDGED))
    cascades = or_nothing(f"{increase('cascade_baseline_usd_total')} - {increase('cascade_actual_usd_total')}")
    saved = f"{increase('cache_saved_usd_total')} + {cascades} - {increase('hedge_wasted_usd_total')}"
    return [
        stat(
            "Calls per second",
            "Calls that ended. Nothing at all while agents run: look whether they reach the gate, and with which key.",
            rate(chosen("requests_total", "route")),
            unit="reqps",
        ),
        stat(
            "Success",
            "Share of calls that neither an upstream nor the gate failed; refusals and faulty requests are left out. "
            "Below 99.5 %: the error codes at the bottom name the side.",
            f"1 - {share(failed, counted)}",
            unit="percentunit",
        ),
        stat(
            "First token, p95",
            "Streams: from the receipt of a call to its first content. Above 2 s: compare the targets on Upstreams.",
            quantile(0.95, FIRST),
            unit="s",
        ),
        stat(
            "Spend per hour",
            "At the present pace, in US dollars. The ledger holds the bill; this shows where it is heading.",
            rate(chosen("spend_usd_total", "route")) + " * 3600",
            unit="currencyUSD",
        ),
        stat(
            "Net saved",
            "What known answers had cost, less what the losers of hedges cost, in the shown time. Below zero: "
            "hedge less.",
            saved,
            unit="currencyUSD",
        ),
        stat(
            "Breakers open",
            "Targets that are left out in some process. `headgate targets` says why, and when each is tried again.",
            gauge('breaker_state{state="open"}'),
            unit="short",
        ),
    ]


def causes() -> list[Json]:
    return [
        stack(
            "Outcomes",
            "How calls ended. `rejected` is a rule of yours at work, `upstream_error` and `timeout` are a provider's, "
            "`proxy_error` is the gate's own: read its log.",
            (rate(chosen("requests_total", "route"), "outcome"), "{{outcome}}"),
            unit="reqps",
        ),
        lines(
            "In flight",
            "One route that climbs alone has slow targets; all of them together point at the gate or its network.",
            (gauge(chosen("in_flight_requests", "route"), "route"), "{{route}}"),
            (gauge(chosen("queue_depth", "route"), "route"), "{{route}}, of them waiting"),
            unit="short",
        ),
        traced(
            lines(
                "First token",
                "Streams. A p95 that leaves the p50 behind is a tail: open Tail and hedging. Dots lead to traces.",
                (quantile(0.95, FIRST), "p95"),
                (quantile(0.5, FIRST), "p50"),
                unit="s",
            )
        ),
        lines(
            "Overhead",
            "What the gate itself adds to a call. Above 25 ms at p99: the machine lacks a core, or bodies are huge.",
            (quantile(0.99, chosen("overhead_seconds", "route")), "p99"),
            (quantile(0.5, chosen("overhead_seconds", "route")), "p50"),
            unit="s",
        ),
        right(
            lines(
                "Tokens and spend",
                "A jump of tokens without more calls is a prompt that grew; spend that climbs alone is a dearer model.",
                (rate("tokens_total"), "tokens per second"),
                (rate(chosen("spend_usd_total", "route")) + " * 3600", "US dollars an hour"),
                unit="short",
            ),
            "US dollars an hour",
            unit="currencyUSD",
        ),
        stack(
            "Answers to clients",
            "Status codes by endpoint. Many 429 and 402 are limits of yours; 5xx are what agents see of an outage.",
            (rate("http_responses_total", "endpoint", "code") + " > 0", "{{endpoint}} {{code}}"),
            unit="reqps",
        ),
    ]


def lists() -> list[Json]:
    spenders = f"topk(10, {increase('spend_usd_total', 'agent')})"
    errors = f"topk(10, {increase('errors_total', 'source', 'code')} > 0)"
    return [
        table(
            "Agents by spend",
            "The ten that spent most in the shown time. A name leads to its own dashboard; `other` gathers the rest.",
            (spenders, "Spend"),
            unit="currencyUSD",
            links={"agent": AGENT_BOARD},
        ),
        column_unit(
            table(
                "Errors by code",
                "The ten most frequent in the shown time, with the side at fault; what each means is in the docs.",
                (errors, "Errors"),
                unit="short",
            ),
            "Errors",
            "short",
        ),
        table(
            "Firing alerts",
            "Empty is good. Each alert's annotation `runbook` says what it means, what it may come of, and what to do.",
            ('max by (alertname, severity) (ALERTS{alertname=~"Headgate.*",alertstate="firing"})', "Firing"),
            unit="short",
        ),
    ]


def board() -> Json:
    return dashboard(
        "headgate-fleet", "Headgate / Fleet", "Is it fine now?", [*now(), *causes(), *lists()], choices=("route",)
    )
