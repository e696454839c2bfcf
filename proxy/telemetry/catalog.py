"""The table of metrics: every name, its help, its labels with their closed lists, its ladder.

It declares and does nothing: `series.py` turns it into recorders and text, `metrics.py` feeds them, dashboards may use
what stands here and nothing else. A label without a list takes the names of the configuration; any other value becomes
`other`. No label holds a run, a key, a request id or a name as a client typed it. Names follow the Prometheus
conventions: base units, `_total` on counters.
"""

from __future__ import annotations

from typing import get_args

from proxy import errors, observed, types
from proxy.errors import CODES
from proxy.observed import NoHedgeKind
from proxy.telemetry import ladders
from proxy.telemetry.catalog_batches import BATCHES
from proxy.telemetry.catalog_cascades import CASCADES
from proxy.telemetry.catalog_experiments import EXPERIMENTS
from proxy.telemetry.catalog_known import KNOWN
from proxy.telemetry.catalog_load import LOAD
from proxy.telemetry.catalog_shared import SHARED
from proxy.telemetry.catalog_votes import VOTES
from proxy.telemetry.family import (
    AGENT,
    MODEL,
    NANOS,
    OTHER,
    PROVIDER,
    ROUTE,
    TARGET,
    Family,
    Label,
    counter,
    dollar_gauge,
    dollars,
    gauge,
    histogram,
)

TO = Label("to")
OUTCOME = Label("outcome", get_args(errors.Family))
RESULT = Label("result", ("ok", "error"))
STREAM = Label("stream", ("yes", "no"))
ROLE = Label("role", ("first", "retry", "hedge", "escalation", "member"))
SERVED_BY = Label("served_by", tuple(served for served in get_args(types.ServedBy) if served != "none"))
ENDPOINT = Label("endpoint", ("chat", "completions", "responses", "embeddings", "media", OTHER))
STATUSES = tuple(str(status) for status in sorted({200} | {rule.status for rule in CODES.values()}))
STATUS = Label("code", (*STATUSES, "2xx", "3xx", "4xx", "5xx"))
SOURCE = Label("source", get_args(errors.Source))
CODE = Label("code", tuple(CODES))
BY = Label("by", ("client", "upstream", "proxy"))
TRIES = ("http_429", "http_5xx", "timeout", "connect", "reset", "bad_stream")
REASON = Label("reason", (*TRIES, "http_4xx"))
ELSEWHERE = Label("reason", (*TRIES, "http_4xx", "no_permit"))
WINNER = Label("winner", ("original", "hedge", "none"))
NO_HEDGE = Label("reason", get_args(NoHedgeKind))
AGAIN = Label("role", ("retry", "hedge"))
ATTEMPT_RESULT = Label("result", ("ok", *TRIES, "http_4xx", "cancelled"))
TOKEN_KINDS = (
    *("input_uncached", "input_cached", "input_cache_write_5m", "input_cache_write_1h", "input_audio", "input_image"),
    *("output", "reasoning", "output_audio"),
)
KIND = Label("kind", TOKEN_KINDS)
BASIS = Label("basis", ("counted", "estimated"))
CACHED = Label("basis", ("expected", "reported"))
ANY_BASIS = Label("basis", get_args(types.UsageSource))
LOOP = Label("action", get_args(observed.LoopAction))
RUN_SOURCE = Label("source", get_args(types.RunSource))
WRITE = Label("result", ("ok", "retried", "failed"))
BOUND = Label(
    "bound",
    (
        *("request_body", "request_headers", "upstream_reply", "calls", "agents", "runs"),
        *("log_queue", "ledger_queue", "accounts", "rate_accounts", "waiting", "shed", "held", "shared_answers"),
    ),
)
HELD = Label("result", ("quiet", "rescued", "left"))
RATE_LIMIT = Label("limit", ("requests", "tokens", "concurrency"))
STATE = Label("state", ("closed", "open", "half_open"))
RUN_STATE = Label("state", ("active", "waiting", "parked"))
TURNS = (
    *(("open", reason) for reason in ("consecutive", "error_rate", "relapsed", "auth", "trial_failed", "probe_failed")),
    *(("half_open", reason) for reason in ("waited", "probe_ok", "manual")),
    ("closed", "trial_ok"),
)
TURNED_TO = Label("to", STATE.values)
TURN = Label("reason", tuple(reason for _, reason in TURNS))
UPSTREAM_LIMIT = Label("limit", ("requests", "tokens"))
BUDGET = Label("budget")
WINDOWS = ("minute", "hour", "day", "week", "month", "total")
WINDOW = Label("window", WINDOWS)
SHORT = Label("reason", ("spent", "held", "floor", "overrun", "lowered", "cache_only", "queue"))
OBSERVER = Label("observer", ("ledger", "metrics", "log", "budgets"))


REQUESTS = (
    counter("calls_started_total", "Calls begun: those ended and those in flight."),
    counter("requests_total", "Calls by how they ended.", ROUTE, AGENT, OUTCOME),
    Family(
        name="errors_total",
        kind="counter",
        help="Calls ended by an error, by its code.",
        labels=(SOURCE, CODE),
        foreseen=tuple((rule.source, code) for code, rule in CODES.items()),
    ),
    counter("http_responses_total", "Status codes sent to clients.", ENDPOINT, STATUS),
    gauge("in_flight_requests", "Calls begun and not ended.", ROUTE, merge="sum"),
    gauge("queue_depth", "Calls that wait for others of their key or agent, or for a target.", ROUTE, merge="sum"),
    gauge("held_calls", "Calls with hours to spare that wait for a quiet time.", ROUTE, merge="sum"),
    counter("held_total", "Calls that have waited for a quiet time, by how that ended.", ROUTE, HELD),
    counter("stream_aborts_total", "Streams broken off after their first byte, by the side that broke them.", BY),
    counter("client_retries_total", "Calls that the client's SDK marks as its own retry.", ROUTE),
    counter("runs_started_total", "Runs seen first, by where the run's id came from.", AGENT, RUN_SOURCE),
    counter("loops_detected_total", "Calls with which a run went round in circles, by what was done.", AGENT, LOOP),
    gauge("runs_active", "Runs with calls in flight.", merge="sum"),
)

GATES = (
    gauge("run_gate_runs", "Runs at a model's run admission gate, by where they stand.", ROUTE, RUN_STATE),
    gauge("run_gate_in_use", "Tokens of prompts that active runs are charged with; runs, if memory is unknown.", ROUTE),
    gauge("run_gate_limit", "What may be in use before new runs wait, in the same unit.", ROUTE),
    histogram(
        "run_gate_wait_seconds", ladders.E2E, "Waits of calls at a run admission gate, however they ended.", ROUTE
    ),
)

LATENCY = (
    histogram("request_duration_seconds", ladders.E2E, "From receipt to the last byte.", ROUTE, STREAM, RESULT),
    Family(
        name="time_to_first_token_seconds",
        kind="histogram",
        help="Streams: from receipt to the first content sent on.",
        labels=(ROUTE, SERVED_BY),
        ladder=ladders.TTFT,
        traced=True,
    ),
    histogram("inter_chunk_seconds", ladders.CHUNK, "Every gap between chunks, added at a stream's end.", ROUTE),
    histogram("time_per_output_token_seconds", ladders.TPOT, "Mean gap between a stream's tokens.", ROUTE),
    histogram("queue_seconds", ladders.WAIT, "Waits of the calls that had to wait, however they ended.", ROUTE),
    histogram(
        "overhead_seconds",
        ladders.OVERHEAD,
        "Duration less all waiting: for upstreams, judges and embeddings, at limits and gates, before retries.",
        ROUTE,
    ),
)

UPSTREAM = (
    counter("upstream_attempts_total", "Attempts by how they ended.", TARGET, ROLE, ATTEMPT_RESULT),
    histogram("upstream_duration_seconds", ladders.E2E, "Attempts, cancelled ones left out.", TARGET, RESULT),
    histogram("upstream_first_token_seconds", ladders.TTFT, "Streams: from sending to first content.", TARGET),
    gauge("upstream_in_flight", "Attempts begun and not ended.", TARGET, merge="sum"),
    gauge(
        "upstream_ratelimit_remaining_ratio",
        "What is left of an upstream's tightest known limit; 1: no limit is known.",
        TARGET,
        UPSTREAM_LIMIT,
        merge="min",
    ),
    gauge("upstream_healthy", "1: its breaker is closed, in every process.", TARGET, merge="min"),
    gauge("route_healthy_targets", "Targets of a model whose breakers are not open.", ROUTE, merge="min"),
    gauge("breaker_state", "1 for the state of a target's breaker, in any process.", TARGET, STATE, merge="max"),
    Family(
        name="breaker_transitions_total",
        kind="counter",
        help="Turns of breakers: to which state, and why.",
        labels=(TARGET, TURNED_TO, TURN),
        together=TURNS,
    ),
    counter("breaker_rejected_total", "Times a target was left out of the choice by its breaker.", TARGET),
    gauge("target_info", "1 for each configured target, to join on.", TARGET, PROVIDER, MODEL),
    counter("prefix_tokens_total", "Tokens thought to be in a target's memory, and what it said.", TARGET, CACHED),
    gauge("prefix_index_tokens", "Tokens of prompts that a target is thought to have.", TARGET, merge="sum"),
)

RACE = (
    counter("retries_total", "Attempts after a failed one, by the failure.", ROUTE, REASON),
    counter("fallbacks_total", "Attempts elsewhere than where one failed, or had no room.", ROUTE, TO, ELSEWHERE),
    counter("hedges_fired_total", "Second copies of late calls, counted when the call has ended.", ROUTE),
    counter("hedges_finished_total", "The same, by whose content came first.", ROUTE, WINNER),
    counter("hedges_suppressed_total", "Late calls without a second copy, by the last reason.", ROUTE, NO_HEDGE),
    counter("hedge_wasted_tokens_total", "Tokens billed for the copy that lost.", ROUTE, ANY_BASIS),
    dollars("hedge_wasted_usd_total", "Cost of the copy that lost, in US dollars.", ROUTE, ANY_BASIS),
    gauge("hedge_delay_seconds", "When the last call would have been thought late; 0: none was.", ROUTE, merge="max"),
    gauge("attempt_budget_remaining_ratio", "What is left for retries and hedges, of its burst.", merge="min"),
    counter("attempt_budget_refused_total", "Retries and hedges that it had nothing left for.", AGAIN),
)

MONEY = (
    counter("tokens_total", "Tokens billed, in disjoint kinds.", AGENT, PROVIDER, MODEL, KIND),
    dollars("spend_usd_total", "Cost of all attempts in US dollars.", AGENT, ROUTE, PROVIDER, MODEL),
    Family(
        name="request_cost_usd",
        kind="histogram",
        help="Cost of one call in US dollars, all attempts.",
        labels=(ROUTE,),
        ladder=ladders.COST,
        traced=True,
        per_unit=NANOS,
    ),
    dollars("spend_estimated_usd_total", "The part of spend that no upstream reported.", PROVIDER, BASIS),
    counter("usage_unknown_fields_total", "Attempts whose usage held a field without a price.", PROVIDER),
    counter("usage_clamped_total", "Attempts whose reported usage was beyond belief and was cut.", PROVIDER),
    counter("unpriced_requests_total", "Attempts billed by the upstream that no price is known for.", PROVIDER),
    dollars("gpu_charged_usd_total", "What calls were charged for the time of engines of one's own.", PROVIDER),
    dollars("gpu_elapsed_usd_total", "What the time of engines of one's own has cost, busy or idle.", PROVIDER),
    counter("rate_limited_total", "Calls refused by a rate limit of the gate or of a target.", AGENT, RATE_LIMIT),
    gauge("ledger_lag_seconds", "Age of the oldest row not yet written."),
    gauge("ledger_queue_entries", "Rows not yet written."),
    gauge("ledger_drift_usd", "Spend by these metrics less spend by the ledger, since the start."),
    counter("ledger_writes_total", "Group commits of the ledger.", WRITE),
)

BUDGETS = (
    dollar_gauge("budget_limit_usd", "Limits in money, top-ups included.", BUDGET, WINDOW),
    dollar_gauge("budget_spent_usd", "What was spent of them in the open window, overruns included.", BUDGET, WINDOW),
    dollar_gauge("budget_held_usd", "What running calls hold of them.", BUDGET, WINDOW),
    dollar_gauge("budget_unresolved_usd", "What a crash left unknown; it counts as spent.", BUDGET, WINDOW),
    gauge("budget_resets_timestamp_seconds", "When the open window ends; 0: never.", BUDGET, WINDOW),
    dollars("budget_overrun_usd_total", "Cost above the hold and all that was left.", PROVIDER),
    counter("budget_denied_total", "Limits that refused a call.", BUDGET, SHORT),
)

SELF = (
    histogram("event_loop_lag_seconds", ladders.WAIT, "How late the event loop ran a timer."),
    counter("event_loop_blocked_total", "Times that an event loop stood still for two seconds."),
    counter("bound_hits_total", "Times that a queue, map or size limit was full.", BOUND),
    counter("observer_errors_total", "Records of a call's end that failed.", OBSERVER),
    counter("log_records_dropped_total", "Log lines lost because the log could not keep up or write."),
    counter("content_records_dropped_total", "Calls whose words should have been kept and could not be written."),
    counter("trace_spans_dropped_total", "Spans lost because the collector could not keep up or would not take them."),
    counter("config_reloads_total", "Reloads of the configuration.", RESULT),
    gauge("config_last_success_timestamp_seconds", "When the configuration in force was loaded."),
    gauge("prices_timestamp_seconds", "Date of the price book."),
    gauge("workers", "Processes that serve."),
    counter("worker_restarts_total", "Workers that died and were started again."),
    gauge("metrics_series", "Series exposed by the families above and below."),
    gauge("build_info", "1 for what runs.", Label("version"), Label("python"), Label("demo", ("true", "false"))),
)

CAPPED = tuple(
    family.name
    for family in (*REQUESTS, *LATENCY, *UPSTREAM, *RACE, *KNOWN, *CASCADES, *VOTES, *EXPERIMENTS, *MONEY, *BUDGETS)
    if any(label.values is None for label in family.labels)
)

FAMILIES: tuple[Family, ...] = (
    *REQUESTS,
    *GATES,
    *LATENCY,
    *UPSTREAM,
    *RACE,
    *KNOWN,
    *CASCADES,
    *VOTES,
    *EXPERIMENTS,
    *BATCHES,
    *MONEY,
    *BUDGETS,
    *SELF,
    *SHARED,
    *LOAD,
    counter("metrics_overflow_total", "Series folded into `other` because a family was full.", Label("metric", CAPPED)),
)
