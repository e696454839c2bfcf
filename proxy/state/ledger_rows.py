"""The shape of the ledger's file and how one `Outcome` becomes rows of it.

Two append-only tables: `outcome` has a row for each call, `attempt` a row for each try, joined by the call's `seq`.
Columns carry no constraint beyond the keys: a settlement is recorded as it came, never refused. Instants are wall
milliseconds (`at_ms`), lengths are seconds, money is integer nano-dollars where NULL means unpriced. `PRAGMA
user_version` holds the version of this schema. When and in which transaction rows are written is `ledger`'s matter.
"""

from __future__ import annotations

import json

from proxy.types import Attempt, Outcome

SCHEMA_VERSION = 1

TOKEN_CLASSES = (
    "input_uncached",
    "input_cached",
    "input_cache_write_5m",
    "input_cache_write_1h",
    "input_audio",
    "input_image",
    "output",
    "reasoning",
    "output_audio",
)

OUTCOME_COLUMNS = (
    "seq INTEGER PRIMARY KEY",
    "request_id TEXT",
    "at_ms INTEGER",
    "key_id TEXT",
    "team TEXT",
    "agent TEXT",
    "agent_source TEXT",
    "run TEXT",
    "run_source TEXT",
    "parent_run TEXT",
    "step INTEGER",
    "depth INTEGER",
    "tags TEXT",  # JSON, pairs in the caller's order
    "endpoint TEXT",
    "dialect TEXT",
    "model TEXT",  # as the caller asked
    "route TEXT",
    "stream INTEGER",
    "output_tokens_max INTEGER",
    "input_tokens_estimate INTEGER",
    "deadline_s REAL",  # what the caller allowed, from arrival
    "client_retry INTEGER",
    "trace_id TEXT",
    "plan_mode TEXT",
    "plan_targets TEXT",
    "plan_reason TEXT",
    "target TEXT",  # of the last attempt
    "served_by TEXT",
    "status INTEGER",
    "error_code TEXT",
    "error_source TEXT",
    "attempts INTEGER",
    "cost_usd_nanos INTEGER",
    "first_event_s REAL",
    "duration_s REAL",
    "upstream_s REAL",
    "bytes_in INTEGER",
    "bytes_out INTEGER",
    "client_gone INTEGER",
    "config_version TEXT",
)

ATTEMPT_COLUMNS = (
    "call INTEGER",
    "position INTEGER",
    "number INTEGER",
    "role TEXT",
    "target TEXT",
    "provider TEXT",
    "upstream_model TEXT",
    "started_s REAL",  # after the call's arrival
    "first_event_s REAL",
    "duration_s REAL",
    "lesson TEXT",
    "status INTEGER",
    "error_code TEXT",
    "upstream_request_id TEXT",
    *(f"{name} INTEGER" for name in TOKEN_CLASSES),  # all NULL: nothing was billed
    "usage_source TEXT",
    "usage_flags TEXT",
    "price_id TEXT",
    "held_usd_nanos INTEGER",
    "cost_usd_nanos INTEGER",
)

Value = str | int | float | None
Row = tuple[Value, ...]


def _append_only(table: str) -> str:
    return "".join(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
        " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
        for verb in ("UPDATE", "DELETE")
    )


SCHEMA = f"""
CREATE TABLE outcome ({", ".join(OUTCOME_COLUMNS)});
CREATE TABLE attempt ({", ".join(ATTEMPT_COLUMNS)}, PRIMARY KEY (call, position)) WITHOUT ROWID;
CREATE INDEX outcome_at ON outcome (at_ms);
CREATE INDEX outcome_request ON outcome (request_id);
CREATE INDEX outcome_run ON outcome (run) WHERE run IS NOT NULL;
CREATE INDEX outcome_parent_run ON outcome (parent_run) WHERE parent_run IS NOT NULL;
{_append_only("outcome")}
{_append_only("attempt")}
PRAGMA user_version = {SCHEMA_VERSION};
"""


def outcome_row(seq: int, outcome: Outcome) -> Row:
    call, plan = outcome.call, outcome.plan
    head, who = call.head, call.identity
    return (
        seq,
        call.id,
        int(call.arrived_wall * 1000),
        who.key_id,
        who.team,
        who.agent,
        who.agent_source,
        who.run,
        who.run_source,
        who.parent_run,
        who.step,
        who.depth,
        json.dumps(who.tags) if who.tags else None,
        call.endpoint,
        call.dialect,
        head.model,
        call.route,
        head.stream,
        head.output_tokens_max,
        call.input_tokens_estimate,
        call.deadline - call.arrived_at,
        call.client_retry,
        call.trace_id,
        plan and plan.mode,
        plan and " > ".join([target.id for step in plan.steps for target in step]),
        plan and plan.reason,
        outcome.attempts[-1].target.id if outcome.attempts else None,
        outcome.served_by,
        outcome.status,
        outcome.error_code,
        outcome.error_source,
        len(outcome.attempts),
        outcome.cost_usd_nanos,
        outcome.first_event_s,
        outcome.duration_s,
        outcome.upstream_s,
        len(call.raw),
        outcome.bytes_out,
        outcome.client_gone,
        outcome.config_version,
    )


NOT_BILLED: Row = (None,) * (len(TOKEN_CLASSES) + 2)


def _usage(attempt: Attempt) -> Row:
    usage = attempt.usage
    if usage is None:
        return NOT_BILLED
    return (
        usage.input_uncached,
        usage.input_cached,
        usage.input_cache_write_5m,
        usage.input_cache_write_1h,
        usage.input_audio,
        usage.input_image,
        usage.output,
        usage.reasoning,
        usage.output_audio,
        usage.source,
        " ".join(usage.flags) if usage.flags else None,
    )


def attempt_rows(seq: int, outcome: Outcome) -> list[Row]:
    arrived_at = outcome.call.arrived_at
    return [
        (
            seq,
            position,
            attempt.number,
            attempt.role,
            attempt.target.id,
            attempt.target.provider,
            attempt.target.model,
            attempt.started_at - arrived_at,
            attempt.first_event_s,
            attempt.duration_s,
            attempt.lesson,
            attempt.status,
            attempt.error_code,
            attempt.upstream_request_id,
            *_usage(attempt),
            attempt.target.price.id if attempt.target.price else None,
            attempt.held_usd_nanos,
            attempt.cost_usd_nanos,
        )
        for position, attempt in enumerate(outcome.attempts)
    ]
