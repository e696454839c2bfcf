"""The shape of the ledger's file, and how an `Outcome` becomes rows of it.

Two append-only tables: `outcome` has a row for each call, `attempt` a row for each try, joined by the call's `seq`.
Columns carry no constraint beyond the keys: a settlement is recorded as it came, never refused. Instants are wall
milliseconds (`at_ms`), lengths are seconds, money is integer nano-dollars where NULL means unpriced; other NULLs mean
absent. `PRAGMA user_version` holds the version of the schema. When rows are written is `ledger`'s matter.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from itertools import chain

from msgspec import Struct

from proxy.types import Attempt, Outcome, Target, Usage

SCHEMA_VERSION = 1

TOKEN_CLASSES = (
    *("input_uncached", "input_cached", "input_cache_write_5m", "input_cache_write_1h", "input_audio", "input_image"),
    *("output", "reasoning", "output_audio"),
)

OUTCOME_COLUMNS = (
    "seq INTEGER PRIMARY KEY",
    "request_id TEXT",
    "at_ms INTEGER",
    "key_id TEXT",
    "agent TEXT",
    "agent_source TEXT",
    "run TEXT DEFAULT NULL",
    "run_source TEXT",
    "endpoint TEXT",
    "dialect TEXT",
    "model TEXT",  # as the caller asked
    "route TEXT",
    "stream INTEGER",
    "input_tokens_estimate INTEGER",
    "deadline_s REAL",  # what the caller allowed, from arrival
    "trace_id TEXT",
    "plan_mode TEXT DEFAULT NULL",
    "plan_targets TEXT DEFAULT NULL",
    "plan_reason TEXT DEFAULT NULL",
    "target TEXT DEFAULT NULL",  # of the last attempt
    "served_by TEXT",
    "status INTEGER",
    "attempts INTEGER",
    "cost_usd_nanos INTEGER DEFAULT NULL",
    "first_event_s REAL DEFAULT NULL",
    "duration_s REAL",
    "upstream_s REAL",
    "bytes_in INTEGER",
    "bytes_out INTEGER",
    "config_version TEXT",
    # from here on: what a usual call leaves at its default
    "team TEXT DEFAULT NULL",
    "parent_run TEXT DEFAULT NULL",
    "step INTEGER DEFAULT NULL",
    "depth INTEGER DEFAULT 0",
    "tags TEXT DEFAULT NULL",  # JSON, pairs in the caller's order
    "output_tokens_max INTEGER DEFAULT NULL",
    "client_retry INTEGER DEFAULT 0",
    "error_code TEXT DEFAULT NULL",
    "error_source TEXT DEFAULT NULL",
    "client_gone INTEGER DEFAULT 0",
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
    "first_event_s REAL DEFAULT NULL",
    "duration_s REAL",
    "lesson TEXT",
    "status INTEGER DEFAULT NULL",
    "upstream_request_id TEXT DEFAULT NULL",
    "price_id TEXT DEFAULT NULL",
    "held_usd_nanos INTEGER",
    "cost_usd_nanos INTEGER DEFAULT NULL",
    "usage_source TEXT DEFAULT NULL",
    # the token classes: all NULL where nothing was billed
    *("input_uncached INTEGER", "input_cached INTEGER", "output INTEGER", "reasoning INTEGER"),
    # from here on: what a usual attempt leaves at its default
    *("input_cache_write_5m INTEGER DEFAULT 0", "input_cache_write_1h INTEGER DEFAULT 0"),
    *("input_audio INTEGER DEFAULT 0", "input_image INTEGER DEFAULT 0", "output_audio INTEGER DEFAULT 0"),
    "usage_flags TEXT DEFAULT NULL",
    "error_code TEXT DEFAULT NULL",
)

Value = str | int | float | None
Row = tuple[str | int | float, ...]

ABSENT = ""  # becomes NULL; binding None itself costs sqlite3 0.45 us, on the slow path for types it does not know
ROWS_PER_STATEMENT = 16  # sqlite3 gives up the interpreter lock once a statement, so not once a row
INTEGER_MAX = 2**63 - 1


def _append_only(table: str) -> str:
    return "".join(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
        " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
        for verb in ("UPDATE", "DELETE")
    )


SCHEMA = f"""
BEGIN;
CREATE TABLE outcome ({", ".join(OUTCOME_COLUMNS)});
CREATE TABLE attempt ({", ".join(ATTEMPT_COLUMNS)}, PRIMARY KEY (call, position)) WITHOUT ROWID;
CREATE INDEX outcome_at ON outcome (at_ms);
CREATE INDEX outcome_request ON outcome (request_id);
CREATE INDEX outcome_run ON outcome (run) WHERE run IS NOT NULL;
CREATE INDEX outcome_parent_run ON outcome (parent_run) WHERE parent_run IS NOT NULL;
{_append_only("outcome")}
{_append_only("attempt")}
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


class Form(Struct, frozen=True):
    """The statements that write rows of one form, for each number of rows up to ROWS_PER_STATEMENT."""

    width: int
    statements: tuple[str, ...]  # the one for no rows is never used


def _form(table: str, columns: Sequence[str], nullable: Collection[str]) -> Form:
    names = [column.split()[0] for column in columns]
    row = ", ".join("nullif(?, '')" if name in nullable else "?" for name in names)
    # OR ROLLBACK: the group is one transaction anyway, and so SQLite need not be able to undo one statement alone.
    begin = f"INSERT OR ROLLBACK INTO {table} ({', '.join(names)}) VALUES "  # noqa: S608  # our own names only
    return Form(len(names), tuple(begin + ", ".join([f"({row})"] * count) for count in range(ROWS_PER_STATEMENT + 1)))


class Table(Struct, frozen=True):
    """Most rows leave the rare columns, which stand last, at their defaults, and are written without: a quarter fewer
    bindings, and half the calls of nullif."""

    usual: Form
    full: Form
    defaults: Row  # of the rare columns, as they stand in a row


def _table(name: str, columns: Sequence[str], defaults: Row) -> Table:
    usual, nullable = columns[: -len(defaults)], {column.split()[0] for column in columns if column.endswith("NULL")}
    return Table(_form(name, usual, nullable), _form(name, columns, nullable | set(TOKEN_CLASSES)), defaults)


OUTCOME = _table("outcome", OUTCOME_COLUMNS, (ABSENT, ABSENT, ABSENT, 0, ABSENT, ABSENT, 0, ABSENT, ABSENT, 0))
ATTEMPT = _table("attempt", ATTEMPT_COLUMNS, (0, 0, 0, 0, 0, ABSENT, ABSENT))


def insert(connection: sqlite3.Connection, seq: int, outcomes: Sequence[Outcome]) -> None:
    """Writes `outcomes` as calls `seq`, `seq + 1`, ... in the transaction that is open."""
    numbered = list(enumerate(outcomes, seq))
    _write(connection, OUTCOME, [outcome_row(number, outcome) for number, outcome in numbered])
    _write(connection, ATTEMPT, [row for number, outcome in numbered for row in attempt_rows(number, outcome)])


def _write(connection: sqlite3.Connection, table: Table, rows: list[Row]) -> None:
    width, defaults = table.usual.width, table.defaults
    usual = [row[:width] for row in rows if row[width:] == defaults]
    _execute_all(connection, table.usual, usual)
    if len(usual) < len(rows):
        _execute_all(connection, table.full, [row for row in rows if row[width:] != defaults])


def _execute_all(connection: sqlite3.Connection, form: Form, rows: list[Row]) -> None:
    for first in range(0, len(rows), ROWS_PER_STATEMENT):
        _execute(connection, form.statements, rows[first : first + ROWS_PER_STATEMENT])


def _execute(connection: sqlite3.Connection, statements: tuple[str, ...], rows: list[Row]) -> None:
    statement = statements[len(rows)]
    try:
        connection.execute(statement, list(chain.from_iterable(rows)))
    except (UnicodeEncodeError, OverflowError):  # raised while binding: nothing of the statement has run
        connection.execute(statement, [_storable(value) for value in chain.from_iterable(rows)])


def _storable(value: str | int | float) -> str | int | float:
    """The nearest value that SQLite can hold: headers may bring lone surrogates, upstreams any number."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return max(-INTEGER_MAX, min(INTEGER_MAX, value))
    return value


def outcome_row(seq: int, outcome: Outcome) -> Row:
    call, plan, attempts = outcome.call, outcome.plan, outcome.attempts
    head, who, cost = call.head, call.identity, outcome.cost_usd_nanos
    return (
        seq,
        call.id,
        int(call.arrived_wall * 1000),
        who.key_id,
        who.agent,
        who.agent_source,
        who.run or ABSENT,
        who.run_source,
        call.endpoint,
        call.dialect,
        head.model,
        call.route,
        1 if head.stream else 0,
        call.input_tokens_estimate,
        call.deadline - call.arrived_at,
        call.trace_id,
        plan.mode if plan else ABSENT,
        _targets(plan.steps) if plan else ABSENT,
        plan.reason if plan else ABSENT,
        attempts[-1].target.id if attempts else ABSENT,
        outcome.served_by,
        outcome.status,
        len(attempts),
        ABSENT if cost is None else cost,
        ABSENT if outcome.first_event_s is None else outcome.first_event_s,
        outcome.duration_s,
        outcome.upstream_s,
        len(call.raw),
        outcome.bytes_out,
        outcome.config_version,
        who.team or ABSENT,
        who.parent_run or ABSENT,
        ABSENT if who.step is None else who.step,
        who.depth,
        json.dumps(who.tags, ensure_ascii=False) if who.tags else ABSENT,
        ABSENT if head.output_tokens_max is None else head.output_tokens_max,
        call.client_retry,
        outcome.error_code or ABSENT,
        outcome.error_source or ABSENT,
        1 if outcome.client_gone else 0,
    )


def _targets(steps: tuple[tuple[Target, ...], ...]) -> str:
    if len(steps) == 1 and len(steps[0]) == 1:
        return steps[0][0].id
    return " | ".join([target.id for step in steps for target in step])


NOT_BILLED: Row = (ABSENT,) * (len(TOKEN_CLASSES) + 2)


def _usage(usage: Usage) -> Row:
    return (
        usage.source,
        usage.input_uncached,
        usage.input_cached,
        usage.output,
        usage.reasoning,
        usage.input_cache_write_5m,
        usage.input_cache_write_1h,
        usage.input_audio,
        usage.input_image,
        usage.output_audio,
        " ".join(usage.flags) if usage.flags else ABSENT,
    )


def _attempt_row(seq: int, position: int, attempt: Attempt, arrived_at: float) -> Row:
    target, cost = attempt.target, attempt.cost_usd_nanos
    return (
        seq,
        position,
        attempt.number,
        attempt.role,
        target.id,
        target.provider,
        target.model,
        attempt.started_at - arrived_at,
        ABSENT if attempt.first_event_s is None else attempt.first_event_s,
        attempt.duration_s,
        attempt.lesson,
        ABSENT if attempt.status is None else attempt.status,
        attempt.upstream_request_id or ABSENT,
        target.price.id if target.price else ABSENT,
        attempt.held_usd_nanos,
        ABSENT if cost is None else cost,
        *(NOT_BILLED if attempt.usage is None else _usage(attempt.usage)),
        attempt.error_code or ABSENT,
    )


def attempt_rows(seq: int, outcome: Outcome) -> list[Row]:
    arrived_at = outcome.call.arrived_at
    return [_attempt_row(seq, position, attempt, arrived_at) for position, attempt in enumerate(outcome.attempts)]
