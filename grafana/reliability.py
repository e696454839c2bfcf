"""The dashboard on what fails: breakers, retries, fallbacks and hedges, and what they cost.

The causes stand below what clients feel of them. A hedge is paid for twice, so its waste stands beside its wins.
"""

from __future__ import annotations

from grafana.panels import (
    Json,
    at_route,
    dashboard,
    gauge,
    increase,
    least,
    lines,
    most,
    quantile,
    rate,
    share,
    stack,
    stat,
    table,
)


def at_target(metric: str, own: str = "") -> str:
    """`metric` for the chosen targets."""
    chosen = 'target=~"$target"'
    return f"{metric}{{{chosen}{',' + own if own else ''}}}"


def now() -> list[Json]:
    return [
        stat(
            "Breakers open",
            "Targets that are left out in some process. `headgate targets` says why, and when each is tried again.",
            gauge('breaker_state{state="open"}'),
            unit="short",
        ),
        stat(
            "Attempts a call",
            "1.00: nothing is tried twice. Above 1.1 for long, an upstream fails: see the attempts by target.",
            share("upstream_attempts_total", "requests_total"),
            unit="short",
        ),
        stat(
            "Allowance left",
            "Of the burst that retries and hedges share, in the process that has least. At 0 nothing is tried again.",
            least("attempt_budget_remaining_ratio"),
            unit="percentunit",
        ),
        stat(
            "Calls hedged",
            "Share of calls that were sent twice because they were late. Above 5 %: a target is slow as a whole.",
            share(at_route("hedges_fired_total"), at_route("requests_total")),
            unit="percentunit",
        ),
        stat(
            "Hedges won",
            "Share of second copies whose content came first. Far below a half, they are sent too early to be of use.",
            share(at_route("hedges_finished_total", 'winner="hedge"'), at_route("hedges_finished_total")),
            unit="percentunit",
        ),
        stat(
            "Spent on losers",
            "Share of all spend that went to the copy that lost. Above 5 %: lower `hedging.budget`, or switch it off.",
            share(at_route("hedge_wasted_usd_total"), at_route("spend_usd_total")),
            unit="percentunit",
        ),
    ]


def felt() -> list[Json]:
    first = at_route("time_to_first_token_seconds")
    return [
        lines(
            "First token by route",
            "Streams, p99 and p50. Hedging cuts the upper line and leaves the lower one alone.",
            (quantile(0.99, first, "route"), "{{route}} p99"),
            (quantile(0.5, first, "route"), "{{route}} p50"),
            unit="s",
        ),
        lines(
            "First token p99 by what served",
            "What a client waits when its first attempt did not answer. `hedge` near `primary`: it was sent in time.",
            (quantile(0.99, first, "served_by"), "{{served_by}}"),
            unit="s",
        ),
    ]


def causes() -> list[Json]:
    out, trying = (most(at_target("breaker_state", f'state="{state}"'), "target") for state in ("open", "half_open"))
    return [
        lines(
            "Breakers by target",
            "2: out, 1: being tried, 0: well. A saw of twos and ones is a target whose trials fail.",
            (f"2 * {out} + {trying}", "{{target}}"),
            unit="short",
        ),
        stack(
            "Attempts by target",
            "What was sent upstream, by target and result. What is not `ok` costs a retry, or a call.",
            (rate(at_target("upstream_attempts_total"), "target", "result"), "{{target}} {{result}}"),
            unit="reqps",
        ),
        stack(
            "Retries by failure",
            "Second tries by what failed before. `http_429`: raise the limit at the provider, or add targets.",
            (rate(at_route("retries_total"), "route", "reason"), "{{route}} {{reason}}"),
            unit="reqps",
        ),
        stack(
            "Late calls without a hedge",
            "By what forbade it: the `_budget`s are allowances, `brake` is a target that is slow as a whole.",
            (rate(at_route("hedges_suppressed_total"), "reason"), "{{reason}}"),
            unit="reqps",
        ),
        lines(
            "Patience",
            "After how long a call was last thought late, by route. It follows what is usual there.",
            (most(at_route("hedge_delay_seconds"), "route"), "{{route}}"),
            unit="s",
        ),
        lines(
            "Healthy targets by route",
            "Those that may be asked, in the process with the fewest. At 0 the least bad one is, without retries.",
            (least(at_route("route_healthy_targets"), "route"), "{{route}}"),
            unit="short",
        ),
        table(
            "Fallbacks",
            "Attempts elsewhere in the shown time, by route, where they went and why. `no_permit`: there was no room.",
            increase(at_route("fallbacks_total"), "route", "to", "reason"),
            unit="short",
        ),
    ]


def reliability() -> Json:
    choices = {"route": "requests_total", "target": "target_info"}
    question = "Who fails, what is done about it, and what does that cost?"
    panels = [*now(), *felt(), *causes()]
    return dashboard("headgate-reliability", "Headgate / Reliability", question, panels, choices=choices)
