"""The shape of the ledger's file, and how an older one becomes the present one.

Three append-only tables, numbered by one counter: `outcome` has a row for each call, `attempt` a row for each try
(joined by the call's `seq`), `event` a row for everything else that is kept. Columns carry no constraint beyond the
keys: a settlement is recorded as it came, never refused. Instants are wall milliseconds (`at_ms`), lengths are seconds,
money is integer nano-dollars where NULL means unpriced; other NULLs mean absent. `PRAGMA user_version` is the file's
version. A new file goes the way of an old one, version by version, so that both end in the same shape.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from proxy.errors import ProxyError

SCHEMA_VERSION: Final = 4

TOKEN_CLASSES: Final = (
    *("input_uncached", "input_cached", "input_cache_write_5m", "input_cache_write_1h", "input_audio", "input_image"),
    *("output", "reasoning", "output_audio"),
)

OUTCOME_USUAL: Final = (
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
)
OUTCOME_RARE: Final = (  # what a usual call leaves at its default
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
CHARGES: Final = "charges TEXT DEFAULT NULL"  # JSON: of each its period, amount, overrun
HASH: Final = "hash BLOB"  # NULL in rows that are older than the chain
OUTCOME_COLUMNS: Final = (*OUTCOME_USUAL, *OUTCOME_RARE, CHARGES, HASH)
# JSON: seconds after arrival, what was said, and target, score and why not of each that was considered. Only the hashes
# of calls for which something was decided cover it.
DECISIONS: Final = "decisions TEXT DEFAULT NULL"

ATTEMPT_USUAL: Final = (
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
)
ATTEMPT_RARE: Final = (
    *("input_cache_write_5m INTEGER DEFAULT 0", "input_cache_write_1h INTEGER DEFAULT 0"),
    *("input_audio INTEGER DEFAULT 0", "input_image INTEGER DEFAULT 0", "output_audio INTEGER DEFAULT 0"),
    "usage_flags TEXT DEFAULT NULL",
    "error_code TEXT DEFAULT NULL",
    "exposure_usd_nanos INTEGER DEFAULT 0",  # what it may have cost beyond its charge
)
ATTEMPT_COLUMNS: Final = (*ATTEMPT_USUAL, *ATTEMPT_RARE)
ATTEMPT_OF_GPU: Final = (  # only attempts at an engine of one's own have these, and only their hashes cover them
    "gpu_s REAL DEFAULT NULL",  # its share of the engine's time
    "idle_usd_nanos INTEGER DEFAULT 0",  # the part of its cost that pays for time in which the engine stood idle
)

EVENT_COLUMNS: Final = ("seq INTEGER PRIMARY KEY", "at_ms INTEGER", "kind TEXT", "subject TEXT", "body TEXT", HASH)


def names(columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([column.split()[0] for column in columns])


def _append_only(table: str) -> str:
    return "".join(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
        " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
        for verb in ("UPDATE", "DELETE")
    )


_VERSION_1: Final = f"""
CREATE TABLE outcome ({", ".join((*OUTCOME_USUAL, *OUTCOME_RARE))});
CREATE TABLE attempt ({", ".join(ATTEMPT_COLUMNS[:-1])}, PRIMARY KEY (call, position)) WITHOUT ROWID;
CREATE INDEX outcome_at ON outcome (at_ms);
CREATE INDEX outcome_request ON outcome (request_id);
CREATE INDEX outcome_run ON outcome (run) WHERE run IS NOT NULL;
CREATE INDEX outcome_parent_run ON outcome (parent_run) WHERE parent_run IS NOT NULL;
{_append_only("outcome")}
{_append_only("attempt")}
"""
_VERSION_2: Final = f"""
ALTER TABLE outcome ADD COLUMN {CHARGES};
ALTER TABLE outcome ADD COLUMN {HASH};
ALTER TABLE attempt ADD COLUMN {ATTEMPT_COLUMNS[-1]};
CREATE TABLE event ({", ".join(EVENT_COLUMNS)});
CREATE INDEX event_subject ON event (kind, subject);
{_append_only("event")}
"""
_VERSION_3: Final = "".join(f"ALTER TABLE attempt ADD COLUMN {column};\n" for column in ATTEMPT_OF_GPU)
_VERSION_4: Final = f"ALTER TABLE outcome ADD COLUMN {DECISIONS};\n"
STEPS: Final = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4)  # the first makes version 1 of an empty file


def upgrade(version: int) -> str:
    """What makes a file of `version` one of the present version, whole or not at all."""
    return "".join(("BEGIN;", *STEPS[version:], f"PRAGMA user_version = {SCHEMA_VERSION};", "COMMIT;"))


SCHEMA: Final = upgrade(0)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Takes the file for this connection alone and makes sure it is a ledger of the present version. Raises ProxyError,
    sqlite3.Error."""
    (mode,) = connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchone()
    (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if (mode, journal) != ("exclusive", "wal"):
        raise ProxyError("ledger_unavailable", f"{path.parent} gives no exclusive file lock: use a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA recursive_triggers = ON")  # so that REPLACE cannot delete past the triggers
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version > SCHEMA_VERSION:
        message = f"the ledger in {path.parent} is of version {version}, this gate knows {SCHEMA_VERSION}: upgrade it"
        raise ProxyError("ledger_unavailable", message)
    if version == 0 and tables:
        raise ProxyError("ledger_unavailable", f"{path} is a database, but not a ledger")
    if version < SCHEMA_VERSION:
        connection.executescript(upgrade(version))


def refusal(error: Exception, path: Path) -> ProxyError:
    """Why the file cannot be used, and what would mend it."""
    if isinstance(error, ProxyError):
        return error
    said, folder = str(error), path.parent
    if isinstance(error, sqlite3.OperationalError) and "locked" in said:
        message = f"the ledger in {folder} is in use by another process: stop it first"
    elif isinstance(error, sqlite3.DatabaseError) and ("malformed" in said or "not a database" in said):
        message = f"the ledger {path} is damaged ({said}): restore it from a backup"
    else:
        message = f"the ledger in {folder} cannot be used: {error}"
    return ProxyError("ledger_unavailable", message)
