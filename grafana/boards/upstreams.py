"""Which upstream fails, what is done about it, and what does that cost? Health on top, remedies below."""

from __future__ import annotations

from grafana.frame import dashboard
from grafana.panels import Json, lines, right, stack, stat, table, timeline
from grafana.queries import chosen, gauge, increase, least, most, quantile, rate, selector, share

STATES = {"0": ("closed", "green"), "1": ("half open", "yellow"), "2": ("open", "red")}


def now() -> list[Json]:
    return [
        stat(
            "Attempts a call",
            "1.00: nothing is tried twice; less: known answers. Above 1.1 for long, an upstream fails: see below "
            "which.",
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
            "In flight upstream",
            "Attempts begun and not ended. It rises when upstreams slow down, before any of them fails.",
            gauge(chosen("upstream_in_flight", "target")),
            unit="short",
        ),
    ]


def health() -> list[Json]:
    out, trying = (
        most(chosen("breaker_state", "target", f'state="{state}"'), "target") for state in ("open", "half_open")
    )
    who = f"max by (target, provider, model) ({selector('target_info')})"
    well = f"{least(chosen('upstream_healthy', 'target'), 'target')} * on (target) group_left (provider, model) {who}"
    return [
        table(
            "Health",
            "1: well, in every process. 0: its breaker is open or trying; `headgate targets` names the last failure.",
            (well, "Well"),
            unit="short",
        ),
        timeline(
            "Breakers",
            "A saw of open and half open is a target whose trials fail. Closed again by itself: nothing is to be done.",
            (f"2 * {out} + {trying}", "{{target}}"),
            states=STATES,
        ),
        lines(
            "Healthy targets by route",
            "Those that may be asked, in the process with the fewest. At 0 the least bad one is, without retries.",
            (least("route_healthy_targets", "route"), "{{route}}"),
            unit="short",
        ),
    ]


def attempts() -> list[Json]:
    return [
        stack(
            "Attempts by target",
            "What was sent upstream, by target and result. What is not `ok` costs a retry, or a call.",
            (rate(chosen("upstream_attempts_total", "target"), "target", "result") + " > 0", "{{target}} {{result}}"),
            unit="reqps",
        ),
        stack(
            "Attempts by role",
            "`retry` and `hedge` come on top of what clients asked for. Many of them: find the target that fails.",
            (rate(chosen("upstream_attempts_total", "target"), "role"), "{{role}}"),
            unit="reqps",
        ),
        lines(
            "Time by target, p95",
            "From sending to first content, and to the end. A target that is slow alone loses calls to the others.",
            (quantile(0.95, chosen("upstream_first_token_seconds", "target"), "target"), "{{target}} first token"),
            (quantile(0.95, chosen("upstream_duration_seconds", "target"), "target"), "{{target}} whole"),
            unit="s",
        ),
        lines(
            "Left of a provider's limits",
            "By what it says of itself, and what was learned. Near 0: ask it for more, or add a target.",
            (least(chosen("upstream_ratelimit_remaining_ratio", "target"), "target", "limit"), "{{target}} {{limit}}"),
            unit="percentunit",
        ),
    ]


def remedies() -> list[Json]:
    return [
        right(
            stack(
                "Retries by failure",
                "Second tries by what failed before. `http_429`: raise the limit at the provider, or add targets.",
                (rate("retries_total", "route", "reason") + " > 0", "{{route}} {{reason}}"),
                (rate("attempt_budget_refused_total"), "refused: no allowance"),
                unit="reqps",
            ),
            "refused: no allowance",
            unit="reqps",
        ),
        stack(
            "Left out by breakers",
            "Times that a target was passed over in a choice. It is what an outage does not cost you.",
            (rate(chosen("breaker_rejected_total", "target"), "target"), "{{target}}"),
            unit="reqps",
        ),
        table(
            "Fallbacks",
            "Attempts elsewhere in the shown time, by route, where they went and why. `no_permit`: there was no room.",
            (f"{increase('fallbacks_total', 'route', 'to', 'reason')} > 0", "Attempts"),
            unit="short",
        ),
        lines(
            "Own engines: charged of elapsed",
            "Share of an engine's time that calls were charged for. Low: it stands idle, and you pay; above 1: "
            "report it.",
            (share("gpu_charged_usd_total", "gpu_elapsed_usd_total", "provider"), "{{provider}}"),
            unit="percentunit",
        ),
        stack(
            "Broken streams",
            "After their first byte, by the side that broke them. `upstream`: see `on_cut`; `client`: agents give up.",
            (rate("stream_aborts_total", "by"), "{{by}}"),
            unit="reqps",
        ),
        stack(
            "Retries by clients",
            "Calls that an SDK marks as its own retry. Together with the gate's they multiply: set the SDK's to 0.",
            (rate("client_retries_total", "route"), "{{route}}"),
            unit="reqps",
        ),
    ]


def board() -> Json:
    question = "Which upstream fails, what is done about it, and what does that cost?"
    panels = [*now(), *health(), *attempts(), *remedies()]
    return dashboard("headgate-upstreams", "Headgate / Upstreams and breakers", question, panels, choices=("target",))
