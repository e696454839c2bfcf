"""Who has how much left, who was refused, and are the books in order? The gate's own health stands beside them."""

from __future__ import annotations

from grafana.frame import dashboard
from grafana.panels import Json, bars, column_unit, lines, right, stack, stat, table
from grafana.queries import ALWAYS, chosen, gauge, increase, most, quantile, rate, recorded

BY = ("budget", "window")
ALLOWED_BAD = 0.005


def of(metric: str) -> str:
    return chosen(metric, "budget")


def used(*by: str) -> str:
    return f"({gauge(of('budget_spent_usd'), *by)} + {gauge(of('budget_held_usd'), *by)})"


def limited(*by: str) -> str:
    return gauge(of("budget_limit_usd"), *by)


def now() -> list[Json]:
    return [
        stat(
            "Money left",
            "Of all limits that are chosen, over their open windows. What running calls hold is not left.",
            f"{limited()} - {used()}",
            unit="currencyUSD",
        ),
        stat(
            "Held",
            "What running calls may still cost at most. Much of it for long: calls are slow, or ask for long answers.",
            gauge(of("budget_held_usd")),
            unit="currencyUSD",
        ),
        stat(
            "Overrun",
            "Cost above the hold and all that was left, in the shown time. The account is blocked until its reset.",
            increase(chosen("budget_overrun_usd_total", "provider")),
            unit="currencyUSD",
        ),
        stat(
            "Unresolved",
            "What a crash left unknown; it counts as spent until it is reconciled with the provider's bill.",
            gauge(of("budget_unresolved_usd")),
            unit="currencyUSD",
        ),
        stat(
            "Estimated",
            "Spend that no upstream reported, in the shown time. Much of it: switch `stream_usage` on for the "
            "provider.",
            increase(chosen("spend_estimated_usd_total", "provider")),
            unit="currencyUSD",
        ),
    ]


def limits() -> list[Json]:
    pace = f'sum by (budget, window) (deriv(headgate_budget_spent_usd{{budget=~"$budget",{ALWAYS}}}[1h]))'
    hours = f"({limited(*BY)} - {used(*BY)}) / clamp_min({pace}, 1e-9) / 3600"
    return [
        bars(
            "Share used",
            "Spent and held of each limit. From 70 % on the ladder of its agents makes calls cheaper and shorter.",
            (f"{used(*BY)} / {limited(*BY)}", "{{budget}} {{window}}"),
            unit="percentunit",
        ),
        lines(
            "Refusals",
            "Limits that refused a call, by reason. `held` for long: give the budget room, or calls shorter answers.",
            (rate(of("budget_denied_total"), "budget", "reason"), "{{budget}} {{reason}}"),
            unit="reqps",
        ),
        column_unit(
            table(
                "Hours to empty",
                "At the pace of the last hour; compare with the reset. `run`: all runs, `key`: all keys, "
                "`other`: the rest.",
                (f"{hours} < 10000", "Hours left"),
                (f"{limited(*BY)} - {used(*BY)}", "Left"),
                (f"({gauge(of('budget_resets_timestamp_seconds'), *BY)} - time()) / 3600", "Hours to the reset"),
                unit="short",
            ),
            "Left",
            "currencyUSD",
        ),
    ]


def books() -> list[Json]:
    doubts = {
        "unknown fields": "usage_unknown_fields_total",
        "clamped": "usage_clamped_total",
        "unpriced": "unpriced_requests_total",
    }
    return [
        right(
            lines(
                "Ledger",
                "Age of the oldest row not yet written, and how many wait. Above 30 s the disk is too slow, or full.",
                (most("ledger_lag_seconds"), "lag"),
                (most("ledger_queue_entries"), "rows waiting"),
                unit="s",
            ),
            "rows waiting",
            unit="short",
        ),
        lines(
            "Ledger against metrics",
            "Spend by these metrics less spend by the ledger, as an amount. More than a cent for long: report it.",
            (f"max (abs(headgate_ledger_drift_usd{{{ALWAYS}}}))", "drift"),
            unit="currencyUSD",
        ),
        stack(
            "Commits of the ledger",
            "`retried` and `failed` are the disk's: look for its space and its speed.",
            (rate("ledger_writes_total", "result"), "{{result}}"),
            unit="ops",
        ),
        stack(
            "Doubtful usage",
            "Attempts whose bill is not certain, by provider. Each should stay near 0: update the price book.",
            *((rate(chosen(name, "provider"), "provider"), f"{{{{provider}}}} {why}") for why, name in doubts.items()),
            unit="reqps",
        ),
        lines(
            "Objectives: how fast they burn",
            "1: exactly as fast as allowed. Above 14.4 for an hour somebody is woken: see the runbooks.",
            (f"{recorded('slo_availability:bad_ratio_1h')} / {ALLOWED_BAD}", "availability"),
            (f"{recorded('slo_ttft:bad_ratio_1h')} / 0.05", "first token"),
            unit="short",
        ),
    ]


def shared() -> list[Json]:
    return [
        lines(
            "Shared store out",
            "1: a breaker is open, and that gate goes on with its part of the rate limits. See the runbook.",
            (most('shared_breaker_state{state=~"open|half_open"}', "instance"), "{{instance}}"),
            unit="short",
        ),
        lines(
            "Shared store, p99",
            "How long it takes to answer, or not to. Near `shared.timeout_ms`: it is far away, or has much to do.",
            (quantile(0.99, "shared_seconds", "op"), "{{op}}"),
            unit="s",
        ),
    ]


def board() -> Json:
    question = "Who has how much left, who was refused, and are the books in order?"
    panels = [*now(), *limits(), *books(), *shared()]
    return dashboard("headgate-budgets", "Headgate / Budgets", question, panels, choices=("budget", "provider"))
