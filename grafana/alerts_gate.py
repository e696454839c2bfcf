"""Alerts on the gate itself: whether it is there, keeps up, accounts for every call, and drops nothing."""

from __future__ import annotations

from grafana.rule import Alert

HERE = "job, instance"


def total(metric: str) -> str:
    return f"sum by ({HERE}) (headgate_{metric})"


def hourly(metric: str, by: str = HERE) -> str:
    return f"sum by ({by}) (increase(headgate_{metric}[1h]))"


def p99(metric: str) -> str:
    return f"histogram_quantile(0.99, sum by ({HERE}, le) (rate(headgate_{metric}_bucket[5m])))"


# A scrape reads one family after another while calls go on: half a second of calls may stand between two of them.
OUTCOME_MISSING = (
    f"abs({total('calls_started_total')} - {total('requests_total')} - {total('in_flight_requests')}) "
    f"> 0.5 * sum by ({HERE}) (rate(headgate_calls_started_total[5m]))"
)

GATE = (
    Alert(
        "HeadgateScrapeMissing",
        "absent(headgate_build_info)",
        "2m",
        "page",
        "No gate is scraped.",
        "Either the gate is down, or Prometheus cannot read it; no other alert can fire.",
        "the process ended, its admin listener moved, the token of the scrape is wrong.",
        "Ask `/health/ready` of the data listener, then `/metrics` of the admin listener with the token of the scrape.",
    ),
    Alert(
        "HeadgateOutcomeMissing",
        OUTCOME_MISSING,
        "10m",
        "ticket",
        "Some calls were begun and neither ended nor run.",
        "Begun is always ended plus in flight. A call without an end has no row in the ledger.",
        "a defect of the gate.",
        "Keep the log and the exposition (`/metrics`) and report it. A restart makes the numbers agree, not the books.",
    ),
    Alert(
        "HeadgateOverheadHigh",
        f"{p99('overhead_seconds')} > 0.025",
        "10m",
        "ticket",
        "The gate itself adds more than 25 ms to one call in a hundred.",
        "Time that is neither queueing nor waiting for an upstream.",
        "a core that is full, very large bodies, a disk that blocks, other processes on the machine.",
        "Loop lag and CPU on the dashboard Load test. Start more `server.workers`, or give it a core of its own.",
    ),
    Alert(
        "HeadgateLoopLag",
        f"{p99('event_loop_lag_seconds')} > 0.1",
        "5m",
        "ticket",
        "The event loop runs timers more than 100 ms late.",
        "Every stream of that process stutters by as much.",
        "a core that is full, swapping, a machine that is shared.",
        "Look at CPU and memory; start more `server.workers`; move the gate off a crowded machine.",
    ),
    Alert(
        "HeadgateReloadFailed",
        'sum by (job, instance) (increase(headgate_config_reloads_total{result="error"}[1h])) > 0',
        "0s",
        "ticket",
        "A changed configuration was refused.",
        "The one before stays in force, so the change has no effect.",
        "a mistake in the file.",
        "`headgate check --config FILE` names the line.",
    ),
    Alert(
        "HeadgateMetricsOverflow",
        f"{hourly('metrics_overflow_total', 'job, instance, metric')} > 0",
        "0s",
        "ticket",
        "{{ $labels.metric }} has more series than it may hold; further names are `other`.",
        "Nothing is lost in the ledger; panels show less detail.",
        "many agents, models or targets.",
        "Lower the number of agents that are known by name, or look details up in the ledger.",
    ),
    Alert(
        "HeadgateObserverError",
        f"{hourly('observer_errors_total', 'job, instance, observer')} > 0",
        "0s",
        "ticket",
        "The {{ $labels.observer }} could not take note of a call's end.",
        "The call was answered; one of those who write it down failed.",
        "a defect, or a disk that is full.",
        "The log has the exception. `headgate ledger verify` tells whether the books are whole.",
    ),
    Alert(
        "HeadgateSharedStoreOut",
        f'max by ({HERE}) (headgate_shared_breaker_state{{state=~"open|half_open"}}) == 1',
        "2m",
        "ticket",
        "The store that gates share does not answer one of them.",
        "That gate goes on by itself: with its part of each rate limit, and without answers that others know.",
        "Redis is down, unreachable or slower than `shared.timeout_ms`.",
        "`headgate doctor` says what it answers; the gate's log says since when. Once it answers, the gate is back "
        "within a few seconds, by itself.",
    ),
    Alert(
        "HeadgateBoundHit",
        f"{hourly('bound_hits_total', 'job, instance, bound')} > 0",
        "0s",
        "ticket",
        "The bound `{{ $labels.bound }}` was reached.",
        "A queue, a map or a size was full: somebody was refused, or something was forgotten early.",
        "more load than the gate was set up for, or one client that asks for too much.",
        "Which bound that is, and its setting, stands in the docs under operations; errors by code say whom it met.",
    ),
)
