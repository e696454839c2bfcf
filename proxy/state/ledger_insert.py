"""Rows into the ledger's file: which statements, in which groups, and the hash that each row carries.

Most rows leave the rare columns at their defaults and are written without them: a quarter fewer bindings, and half the
calls of nullif. The hash of a call covers all its columns and those of its attempts, as they stand in the file but for
one thing: NULL and "" change places in columns that may be NULL, because "" is what is bound there (`as_hashed`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from itertools import chain as joined
from typing import Final

from proxy.state.chain import GENESIS, link
from proxy.state.events import Event
from proxy.state.ledger_rows import ABSENT, Entry, Row, Value, entry, storable, storable_row
from proxy.state.ledger_schema import (
    ATTEMPT_COLUMNS,
    ATTEMPT_OF_GPU,
    ATTEMPT_USUAL,
    CHARGES,
    DECISIONS,
    EVENT_COLUMNS,
    HASH,
    OUTCOME_RARE,
    OUTCOME_USUAL,
    TOKEN_CLASSES,
    names,
)
from proxy.types import Outcome

Item = Outcome | Entry | Event
Stored = Value | bytes
Bound = tuple[str | int | float | bytes, ...]
Statements = tuple[str, ...]  # for each number of rows up to ROWS_PER_STATEMENT; the one for no rows is never used

ROWS_PER_STATEMENT: Final = 16  # sqlite3 gives up the interpreter lock once a statement, so not once a row


def _form(table: str, columns: tuple[str, ...], nullable: Collection[str] = ()) -> Statements:
    written = names(columns)
    row = ", ".join("nullif(?, '')" if name in nullable else "?" for name in written)
    # OR ROLLBACK: the group is one transaction anyway, and so SQLite need not be able to undo one statement alone.
    begin = f"INSERT OR ROLLBACK INTO {table} ({', '.join(written)}) VALUES "  # noqa: S608  # our own names only
    return tuple(begin + ", ".join([f"({row})"] * count) for count in range(ROWS_PER_STATEMENT + 1))


def _nullable(columns: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names(tuple(column for column in columns if column.endswith("DEFAULT NULL"))))


OUTCOME_NULLABLE: Final = _nullable((*OUTCOME_USUAL, *OUTCOME_RARE, CHARGES, DECISIONS))
ATTEMPT_NULLABLE: Final = _nullable((*ATTEMPT_COLUMNS, *ATTEMPT_OF_GPU)) | set(TOKEN_CLASSES)
OUTCOME_SHORT: Final = _form("outcome", (*OUTCOME_USUAL, CHARGES, HASH), OUTCOME_NULLABLE)
OUTCOME_FULL: Final = _form("outcome", (*OUTCOME_USUAL, *OUTCOME_RARE, CHARGES, HASH), OUTCOME_NULLABLE)
OUTCOME_DECIDED: Final = _form("outcome", (*OUTCOME_USUAL, *OUTCOME_RARE, CHARGES, DECISIONS, HASH), OUTCOME_NULLABLE)
ATTEMPT_SHORT: Final = _form("attempt", ATTEMPT_USUAL, _nullable(ATTEMPT_USUAL))
ATTEMPT_FULL: Final = _form("attempt", ATTEMPT_COLUMNS, ATTEMPT_NULLABLE)
ATTEMPT_GPU: Final = _form("attempt", (*ATTEMPT_COLUMNS, *ATTEMPT_OF_GPU), ATTEMPT_NULLABLE)
EVENT: Final = _form("event", EVENT_COLUMNS)

# Of the rare columns, as they stand in a row.
OUTCOME_DEFAULTS: Final[Row] = (ABSENT, ABSENT, ABSENT, 0, ABSENT, ABSENT, 0, ABSENT, ABSENT, 0)
ATTEMPT_DEFAULTS: Final[Row] = (0, 0, 0, 0, 0, ABSENT, ABSENT, 0)

# Widths in an Entry, where the first column is not yet there.
USUAL: Final = len(OUTCOME_USUAL) - 1
BOTH: Final = USUAL + len(OUTCOME_RARE)
ATTEMPT_WIDTH: Final = len(ATTEMPT_USUAL) - 1
ATTEMPT_BOTH: Final = len(ATTEMPT_COLUMNS) - 1


class _Batch:
    """Rows by the form they are written in."""

    def __init__(self) -> None:
        self.outcomes_short: list[Bound] = []
        self.outcomes: list[Bound] = []
        self.outcomes_decided: list[Bound] = []
        self.attempts_short: list[Bound] = []
        self.attempts: list[Bound] = []
        self.attempts_gpu: list[Bound] = []
        self.events: list[Bound] = []

    def call(self, seq: int, entry: Entry, previous: bytes) -> bytes:
        row, attempts = entry.outcome, entry.attempts
        if len(attempts) == 1:
            digest = link(previous, (seq, *row, seq, *attempts[0]))
        else:
            digest = link(previous, (seq, *row, *joined.from_iterable((seq, *attempt) for attempt in attempts)))
        if len(row) > BOTH + 1:
            self.outcomes_decided.append((seq, *row, digest))
        elif row[USUAL:BOTH] == OUTCOME_DEFAULTS:
            self.outcomes_short.append((seq, *row[:USUAL], row[BOTH], digest))
        else:
            self.outcomes.append((seq, *row, digest))
        for attempt in attempts:
            if attempt[ATTEMPT_WIDTH:] == ATTEMPT_DEFAULTS:
                self.attempts_short.append((seq, *attempt[:ATTEMPT_WIDTH]))
            elif len(attempt) > ATTEMPT_BOTH:
                self.attempts_gpu.append((seq, *attempt))
            else:
                self.attempts.append((seq, *attempt))
        return digest

    def event(self, seq: int, event: Event, previous: bytes) -> bytes:
        row = (seq, event.at_ms, event.kind, event.subject, event.body)
        digest = link(previous, row)
        self.events.append((*row, digest))
        return digest

    def write(self, connection: sqlite3.Connection) -> None:
        for statements, rows in (
            (OUTCOME_SHORT, self.outcomes_short),
            (OUTCOME_FULL, self.outcomes),
            (OUTCOME_DECIDED, self.outcomes_decided),
            (ATTEMPT_SHORT, self.attempts_short),
            (ATTEMPT_FULL, self.attempts),
            (ATTEMPT_GPU, self.attempts_gpu),
            (EVENT, self.events),
        ):
            for first in range(0, len(rows), ROWS_PER_STATEMENT):
                some = rows[first : first + ROWS_PER_STATEMENT]
                connection.execute(statements[len(some)], list(joined.from_iterable(some)))


def insert(connection: sqlite3.Connection, seq: int, items: Sequence[Item], previous: bytes = GENESIS) -> bytes:
    """Writes `items` as rows `seq`, `seq + 1`, ... after the row whose hash is `previous`, as one transaction. Returns
    the last hash. A group that holds what SQLite cannot is written as near to it as can be, in a second go."""
    entries = [entry(item) if isinstance(item, Outcome) else item for item in items]
    connection.execute("BEGIN IMMEDIATE")
    try:
        last = _insert(connection, seq, entries, previous)
    except (UnicodeEncodeError, OverflowError):  # raised while hashing or binding; later hashes depend on it
        connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        last = _insert(connection, seq, [_storable(item) for item in entries], previous)
    connection.execute("COMMIT")
    return last


def _insert(connection: sqlite3.Connection, seq: int, entries: Sequence[Entry | Event], previous: bytes) -> bytes:
    batch = _Batch()
    for number, item in enumerate(entries, seq):
        if isinstance(item, Entry):
            previous = batch.call(number, item, previous)
        else:
            previous = batch.event(number, item, previous)
    batch.write(connection)
    return previous


def _storable(item: Entry | Event) -> Entry | Event:
    if isinstance(item, Entry):
        return storable(item)
    at_ms, *texts = storable_row((item.at_ms, item.kind, item.subject, item.body))
    return Event(int(at_ms), *map(str, texts))


# --- what a hash covers, read back -----------------------------------------------------------------------------------


def as_hashed(row: Sequence[Stored], nullable: Sequence[bool]) -> list[Stored]:
    """A row read from the file, as its hash covers it; a value that we never write stays different from all we do."""
    return [_swapped(value) if may else value for value, may in zip(row, nullable, strict=True)]


def _swapped(value: Stored) -> Stored:
    if value is None:
        return ABSENT
    return None if value == ABSENT else value
