"""Does it hold under load? The same signals as a fleet's, and what the gate itself runs out of first."""

from __future__ import annotations

from grafana.boards import fleet
from grafana.frame import dashboard
from grafana.panels import Json, lines, right, stack, stat
from grafana.queries import ALWAYS, chosen, gauge, least, most, quantile, rate, share


def now() -> list[Json]:
    open_calls = f"{gauge('calls_started_total')} - {gauge('requests_total')} - {gauge('in_flight_requests')}"
    return [
        stat(
            "Processes",
            "Those that serve. A restart during a test is a worker that died: its last words are in the log.",
            gauge("workers"),
            unit="short",
        ),
        stat(
            "Calls unaccounted for",
            "Begun, less ended, less in flight: always 0 once scraped at rest. Anything else is a defect: report it.",
            open_calls,
            unit="short",
        ),
        stat(
            "Good calls per second",
            "Streams whose first token came within 2 s. It should follow the load, and stay level past the knee.",
            rate(chosen("time_to_first_token_seconds_bucket", "route", 'le="2.0"')),
            unit="reqps",
        ),
        stat(
            "Good share",
            "The same, of all streams. Under overload it should stay high: what has no room is refused, not delayed.",
            share(
                chosen("time_to_first_token_seconds_bucket", "route", 'le="2.0"'),
                chosen("time_to_first_token_seconds_count", "route"),
            ),
            unit="percentunit",
        ),
    ]


def signals() -> list[Json]:
    duration = chosen("request_duration_seconds", "route")
    shown = {panel["title"]: panel for panel in fleet.causes()}
    return [
        shown["Outcomes"],
        shown["First token"],
        lines(
            "Whole call",
            "From receipt to the last byte. p95 without p50: a part of the calls waits.",
            (quantile(0.95, duration), "p95"),
            (quantile(0.5, duration), "p50"),
            unit="s",
        ),
        shown["Overhead"],
        shown["In flight"],
    ]


def load() -> list[Json]:
    return [
        lines(
            "Users",
            "Of each load test, as it says itself: run `make load`, or `--admin` where the gate runs already.",
            (gauge("loadtest_users", "test", "scenario"), "{{test}} {{scenario}}"),
            unit="short",
        ),
    ]


def room() -> list[Json]:
    process = ALWAYS
    return [
        lines(
            "Loop lag",
            "How late the event loop ran a timer. p99 above 100 ms: a core is full; start more workers.",
            (quantile(0.99, "event_loop_lag_seconds"), "p99"),
            (quantile(0.5, "event_loop_lag_seconds"), "p50"),
            unit="s",
        ),
        right(
            lines(
                "CPU and memory",
                "Of the process that is scraped. Memory that only climbs through a long test is a leak: report it.",
                (f"sum (rate(process_cpu_seconds_total{{{process}}}[$__rate_interval]))", "cores"),
                (f"sum (process_resident_memory_bytes{{{process}}})", "memory"),
                unit="short",
            ),
            "memory",
            unit="bytes",
        ),
    ]


def limits() -> list[Json]:
    return [
        right(
            lines(
                "Series and bounds",
                "Series exposed, and which queue, map or size was full. A bound that is hit refuses somebody: "
                "find whom.",
                (most("metrics_series"), "series"),
                (rate("bound_hits_total", "bound") + " > 0", "{{bound}}"),
                unit="short",
            ),
            "{{bound}}",
            unit="reqps",
        ),
        stack(
            "Lost on the way",
            "Log lines and spans dropped, observers that failed, series folded, workers restarted. All of it "
            "should be nothing.",
            (rate("log_records_dropped_total"), "log lines"),
            (rate("trace_spans_dropped_total"), "spans"),
            (rate("content_records_dropped_total"), "words"),
            (rate("observer_errors_total", "observer"), "{{observer}} failed"),
            (rate("metrics_overflow_total"), "series folded"),
            (rate("worker_restarts_total"), "workers restarted"),
            (rate("event_loop_blocked_total"), "loops blocked"),
            unit="ops",
        ),
        lines(
            "Allowance for retries and hedges",
            "What is left of the burst, and what it had nothing left for. Empty under load, on purpose: no storm.",
            (least("attempt_budget_remaining_ratio"), "left"),
            (rate("attempt_budget_refused_total", "role"), "{{role}} refused"),
            unit="short",
        ),
    ]


def board() -> Json:
    panels = [*now(), *load(), *signals(), *room(), *limits()]
    return dashboard("headgate-loadtest", "Headgate / Load test", "Does it hold?", panels, choices=("route",))
