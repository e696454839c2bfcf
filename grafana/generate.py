"""Writes the dashboards: `python -m grafana.generate`. The JSON is committed; a test compares it with this file.

It decides which question a dashboard answers and in which order; how queries and panels are phrased is `panels.py`'s.
Every metric, label and value named here is declared by the gate. Standard library only.
"""

from __future__ import annotations

import json
from pathlib import Path

from grafana.panels import Json, at_route, dashboard, gauge, increase, lines, quantile, rate, share, stack, stat, table
from grafana.reliability import reliability

FOLDER = Path(__file__).parent / "dashboards"
BAD = "upstream_error|timeout|proxy_error"


def fleet_now() -> list[Json]:
    failed = at_route("requests_total", f'outcome=~"{BAD}"')
    counted = at_route("requests_total", 'outcome!~"client_error|rejected"')
    return [
        stat(
            "Calls per second",
            "Calls that ended. Nothing at all while agents run: look whether they reach the gate, and with which key.",
            rate(at_route("requests_total")),
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
            "Streams: from the receipt of a call to its first content. Above 2 s: compare the attempts per target.",
            quantile(0.95, at_route("time_to_first_token_seconds")),
            unit="s",
        ),
        stat(
            "Spend per hour",
            "At the present pace, in US dollars. The ledger holds the bill; this shows where it is heading.",
            rate(at_route("spend_usd_total")) + " * 3600",
            unit="currencyUSD",
        ),
        stat(
            "Tokens per second",
            "All kinds, input and output. A jump without more calls is a prompt that grew.",
            rate('tokens_total{agent=~"$agent"}'),
            unit="short",
        ),
        stat(
            "In flight",
            "Calls begun and not ended. It rises when upstreams slow down, before any of them fails.",
            gauge(at_route("in_flight_requests")),
            unit="short",
        ),
    ]


def fleet_causes() -> list[Json]:
    return [
        stack(
            "Outcomes",
            "How calls ended. `rejected` is a rule of yours at work, `upstream_error` and `timeout` are a provider's, "
            "`proxy_error` is the gate's own: read its log.",
            (rate(at_route("requests_total"), "outcome"), "{{outcome}}"),
            unit="reqps",
        ),
        lines(
            "In flight by route",
            "One route that climbs alone has slow targets; all of them together point at the gate or its network.",
            (gauge(at_route("in_flight_requests"), "route"), "{{route}}"),
            (gauge(at_route("queue_depth"), "route"), "{{route}}, of them waiting"),
            unit="short",
        ),
        lines(
            "Overhead",
            "What the gate itself adds to a call. Above 25 ms at p99: the machine lacks a core, or bodies are huge.",
            (quantile(0.99, at_route("overhead_seconds")), "p99"),
            (quantile(0.5, at_route("overhead_seconds")), "p50"),
            unit="s",
        ),
        stack(
            "Attempts by target",
            "What was sent upstream, by target and result. A target with many results other than `ok` costs retries.",
            (rate('upstream_attempts_total{target=~"$target"}', "target", "result"), "{{target}} {{result}}"),
            unit="reqps",
        ),
    ]


def fleet_lists() -> list[Json]:
    spenders = increase('spend_usd_total{agent=~"$agent"}', "agent")
    return [
        table(
            "Agents by spend",
            "The ten that spent most in the shown time, in US dollars. `other` gathers those that no one configured.",
            f"topk(10, {spenders})",
            unit="currencyUSD",
        ),
        table(
            "Errors by code",
            "The ten most frequent in the shown time, with the side at fault.",
            f"topk(10, {increase('errors_total', 'source', 'code')})",
            unit="short",
        ),
    ]


def fleet() -> Json:
    panels = [*fleet_now(), *fleet_causes(), *fleet_lists()]
    choices = {"route": "requests_total", "agent": "requests_total", "target": "target_info"}
    return dashboard("headgate-fleet", "Headgate / Fleet", "Is it fine now?", panels, choices=choices)


def of_budget(metric: str) -> str:
    chosen = 'budget=~"$budget"'
    return f"{metric}{{{chosen}}}"


def budgets_now() -> list[Json]:
    used = f"{gauge(of_budget('budget_spent_usd'))} + {gauge(of_budget('budget_held_usd'))}"
    return [
        stat(
            "Money left",
            "Of all limits that are chosen, over their open windows. What running calls hold is not left.",
            f"{gauge(of_budget('budget_limit_usd'))} - ({used})",
            unit="currencyUSD",
        ),
        stat(
            "Held",
            "What running calls may still cost at most. Much of it for long: calls are slow, or ask for long answers.",
            gauge(of_budget("budget_held_usd")),
            unit="currencyUSD",
        ),
        stat(
            "Overrun",
            "Cost above the hold and all that was left, in the shown time. The account is blocked until its reset.",
            increase('budget_overrun_usd_total{provider=~"$provider"}'),
            unit="currencyUSD",
        ),
        stat(
            "Unresolved",
            "What a crash left unknown; it counts as spent until it is reconciled with the provider's bill.",
            gauge(of_budget("budget_unresolved_usd")),
            unit="currencyUSD",
        ),
    ]


def budgets_causes() -> list[Json]:
    by = ("budget", "window")
    used = f"{gauge(of_budget('budget_spent_usd'), *by)} + {gauge(of_budget('budget_held_usd'), *by)}"
    return [
        lines(
            "Share used",
            "Spent and held of each limit. From 70 % on the ladder of its agents makes calls cheaper and shorter.",
            (f"({used}) / {gauge(of_budget('budget_limit_usd'), *by)}", "{{budget}} {{window}}"),
            unit="percentunit",
        ),
        lines(
            "Refusals",
            "Limits that refused a call, by reason. `held` for long: give the budget room, or calls shorter answers.",
            (rate(of_budget("budget_denied_total"), "budget", "reason"), "{{budget}} {{reason}}"),
            unit="reqps",
        ),
        lines(
            "Ledger",
            "Age of the oldest row that is not written, in seconds. Above 30 s the disk is too slow, or full.",
            (gauge("ledger_lag_seconds"), "lag"),
            unit="s",
        ),
        table(
            "Limits by what is left",
            "In US dollars, in the open windows. `run`: all runs, `key`: all keys, `other`: agents of the defaults.",
            f"{gauge(of_budget('budget_limit_usd'), *by)} - ({used})",
            unit="currencyUSD",
        ),
    ]


def budgets() -> Json:
    panels = [*budgets_now(), *budgets_causes()]
    choices = {"budget": "budget_limit_usd", "provider": "budget_overrun_usd_total"}
    question = "Who has how much left, and who was refused?"
    return dashboard("headgate-budgets", "Headgate / Budgets", question, panels, choices=choices)


def dashboards() -> dict[str, Json]:
    return {"fleet.json": fleet(), "budgets.json": budgets(), "reliability.json": reliability()}


def text(board: Json) -> str:
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, board in dashboards().items():
        (FOLDER / name).write_text(text(board), encoding="utf-8")


if __name__ == "__main__":
    main()
