"""How long do the slowest wait, and does a second copy help? A hedge is paid for twice: its waste stands beside it."""

from __future__ import annotations

from grafana.frame import dashboard
from grafana.panels import Json, heatmap, lines, right, signed, stack, stat, traced
from grafana.queries import above, chosen, most, quantile, rate, share, share_shown

FIRST = chosen("time_to_first_token_seconds", "route")
FIRST_BUCKETS = chosen("time_to_first_token_seconds_bucket", "route")
FIRST_COUNT = chosen("time_to_first_token_seconds_count", "route")
CALLS = chosen("requests_total", "route")
FINISHED = chosen("hedges_finished_total", "route")
LATE_SHARE = 0.05  # of streams that may take longer than two seconds to begin


def now() -> list[Json]:
    prompt = chosen("time_to_first_token_seconds_bucket", "route", 'le="2.0"')
    left = f"1 - (1 - {share_shown(prompt, FIRST_COUNT)}) / {LATE_SHARE}"
    return [
        stat(
            "First-token budget left",
            "Of the 5 % of streams that may take longer than 2 s, in the shown time. Below zero: the objective "
            "is missed.",
            left,
            unit="percentunit",
        ),
        stat(
            "Calls hedged",
            "Share of calls that were sent twice because they were late. Above 5 %: a target is slow as a whole.",
            share(chosen("hedges_fired_total", "route"), CALLS),
            unit="percentunit",
        ),
        stat(
            "Hedges won",
            "Share of second copies whose content came first. Far below a half, they are sent too early to be of use.",
            share(chosen("hedges_finished_total", "route", 'winner="hedge"'), FINISHED),
            unit="percentunit",
        ),
        stat(
            "Spent on losers",
            "Share of all spend that went to the copy that lost. Above 5 %: lower `hedging.budget`, or switch it off.",
            share(chosen("hedge_wasted_usd_total", "route"), chosen("spend_usd_total", "route")),
            unit="percentunit",
        ),
    ]


def first_token() -> list[Json]:
    return [
        heatmap(
            "First token",
            "Streams by how long they took to begin. Two bands are two kinds of answers, or two kinds of upstreams.",
            rate(FIRST_BUCKETS, "le"),
            unit="s",
        ),
        traced(
            lines(
                "First token by route",
                "Hedging cuts the upper line and leaves the lower one alone. Dots lead to traces.",
                (quantile(0.99, FIRST, "route"), "{{route}} p99"),
                (quantile(0.95, FIRST, "route"), "{{route}} p95"),
                (quantile(0.5, FIRST, "route"), "{{route}} p50"),
                unit="s",
            )
        ),
        lines(
            "First token p99 by what served",
            "What a client waits when its first attempt did not answer. `hedge` near `primary`: it was sent in time.",
            (quantile(0.99, FIRST, "served_by"), "{{served_by}}"),
            unit="s",
        ),
        lines(
            "Tail ratio",
            "p99 to p50 of the first token. Above 10: waiting is a lottery; give the route a second target to "
            "hedge to.",
            (f"{quantile(0.99, FIRST, 'route')} / {quantile(0.5, FIRST, 'route')}", "{{route}}"),
            unit="short",
        ),
    ]


def stream() -> list[Json]:
    duration = chosen("request_duration_seconds", "route")
    return [
        lines(
            "Between chunks, p99",
            "Gaps inside streams. Above 1 s, readers see a reply that stops and goes on: the upstream is crowded.",
            (quantile(0.99, chosen("inter_chunk_seconds", "route"), "route"), "{{route}}"),
            unit="s",
        ),
        lines(
            "Stalls over 2 s in a thousand gaps",
            "Streams that stand still. More than a few: lower `idle_timeout_s`, and let `on_cut: continue` go on "
            "elsewhere.",
            (f"1000 * {above(2.0, chosen('inter_chunk_seconds', 'route'), 'route')}", "{{route}}"),
            unit="short",
        ),
        lines(
            "Time of an output token, p50",
            "The speed of generation. It rises with the load of an engine before its first tokens come late.",
            (quantile(0.5, chosen("time_per_output_token_seconds", "route"), "route"), "{{route}}"),
            unit="s",
        ),
        lines(
            "Whole call, p95",
            "From receipt to the last byte, by route. Against a flat first token, answers have become longer.",
            (quantile(0.95, duration, "route"), "{{route}}"),
            unit="s",
        ),
    ]


def hedging() -> list[Json]:
    suppressed = chosen("hedges_suppressed_total", "route")
    return [
        stack(
            "Late calls without a hedge",
            "By what forbade it: the `_budget`s are allowances, `brake` is a target that is slow as a whole.",
            (rate(suppressed, "reason"), "{{reason}}"),
            unit="reqps",
        ),
        lines(
            "Patience",
            "After how long a call was last thought late, by route. It follows what is usual there; 0: it never was.",
            (most(chosen("hedge_delay_seconds", "route"), "route"), "{{route}}"),
            unit="s",
        ),
        signed(
            right(
                stack(
                    "Hedges by winner",
                    "`none`: neither came. The waste is what losers cost, in US dollars an hour.",
                    (rate(FINISHED, "winner"), "{{winner}}"),
                    (rate(chosen("hedge_wasted_usd_total", "route")) + " * 3600", "waste"),
                    unit="reqps",
                ),
                "waste",
                unit="currencyUSD",
            )
        ),
    ]


def board() -> Json:
    question = "How long do the slowest wait, and does a second copy help?"
    panels = [*now(), *first_token(), *stream(), *hedging()]
    return dashboard("headgate-tail", "Headgate / Tail and hedging", question, panels, choices=("route",))
