"""The hash chain, computed once more from what the file gives back and compared row by row, a page at a time.

What an edit leaves behind: a row whose hash is not that of its values, a number that is missing or comes twice, an
attempt of no call. Whoever can write the file can also compute a new chain from the edited row on, or cut off its end:
against that helps only a hash that was kept elsewhere. Rows from before there was a chain are counted, not checked.
"""

# ruff: noqa: S608  # every name that is put into a statement stands in this file or the schema; values are bound

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Final

from msgspec import Struct

from proxy.errors import ProxyError
from proxy.state.chain import GENESIS, link
from proxy.state.ledger_insert import ATTEMPT_NULLABLE, OUTCOME_NULLABLE, Stored, as_hashed
from proxy.state.ledger_report import Break, Verified
from proxy.state.ledger_schema import (
    ATTEMPT_COLUMNS,
    ATTEMPT_OF_GPU,
    DECISIONS,
    EVENT_COLUMNS,
    HASH,
    OUTCOME_COLUMNS,
    SCHEMA_VERSION,
    names,
    refusal,
)

PAGE_ROWS: Final = 1_000  # some 20 ms of the ledger's thread
LAST_SEQ: Final = 2**63 - 1

_CALL: Final = names((*OUTCOME_COLUMNS[:-1], DECISIONS, HASH))
_ATTEMPT: Final = names((*ATTEMPT_COLUMNS, *ATTEMPT_OF_GPU))
_EVENT: Final = names(EVENT_COLUMNS)
_CALL_NULLABLE: Final = tuple(name in OUTCOME_NULLABLE for name in _CALL[:-1])
_ATTEMPT_NULLABLE: Final = tuple(name in ATTEMPT_NULLABLE for name in _ATTEMPT)

NO_GPU: Final = (None, 0)
CHANGED: Final = "it was changed, or a row before it was removed, added or moved"

Values = tuple[Stored, ...]


class Row(Struct, frozen=True):
    seq: int
    hash: Stored
    covered: list[Stored]  # by its hash


def open_read_only(path: Path) -> sqlite3.Connection:
    """The ledger of a gate that is stopped. Raises ProxyError ledger_unavailable."""
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=0)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise refusal(error, path) from error
    if version != SCHEMA_VERSION:
        connection.close()
        message = f"{path} is no ledger of version {SCHEMA_VERSION}: start the gate once, which brings it up to date"
        raise ProxyError("ledger_unavailable", message)
    return connection


def verify(
    connection: sqlite3.Connection,
    after: int = 0,
    *,
    hash: str | None = None,
    expect: str | None = None,
    limit: int = PAGE_ROWS,
) -> Verified:
    """The rows that follow `after`, whose hash was found to be `hash` (None: as the file has it). `expect`: a hash that
    is looked for on the way. Raises ProxyError for a hash that is none."""
    wanted = None if expect is None else _bytes(expect)
    begin = _Begin.at(connection, after)
    if begin is None or (hash is not None and begin.hash.hex() != hash):
        return Verified(0, 0, after, "", more=False, broken=Break(after, "it is not what it was a moment ago"))
    try:
        rows, strays, more = _rows(connection, after, limit)
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
        rows, strays, more = _with_odd_text(connection, after, limit)
    return _checked(begin, rows, strays, wanted=wanted, more=more)


class _Begin(Struct, frozen=True):
    """The row that a stretch begins after."""

    seq: int
    hash: bytes
    chained: bool

    @classmethod
    def at(cls, connection: sqlite3.Connection, seq: int) -> _Begin | None:
        if seq == 0:
            return cls(0, b"", chained=False)
        query = "SELECT hash FROM outcome WHERE seq = ? UNION ALL SELECT hash FROM event WHERE seq = ?"
        found = connection.execute(query, [seq, seq]).fetchone()
        if found is None:
            return None
        return cls(seq, found[0] or b"", chained=found[0] is not None)


def _checked(begin: _Begin, rows: list[Row], strays: list[int], *, wanted: bytes | None, more: bool) -> Verified:
    previous, chained, seq = begin.hash if begin.chained else GENESIS, begin.chained, begin.seq
    checked = unchained = 0
    expected_seq = begin.seq if wanted is not None and begin.hash == wanted else None
    broken = None
    for row in rows:
        broken = _wrong(row, seq, previous, chained=chained)
        if broken is not None:
            break
        seq = row.seq
        if isinstance(row.hash, bytes):
            previous, chained = row.hash, True
            checked += 1
            expected_seq = seq if row.hash == wanted else expected_seq
        else:
            unchained += 1
    if broken is None and strays:
        broken = Break(strays[0], "an attempt names this row as its call, and there is no such call")
    hash = previous.hex() if chained else ""
    return Verified(checked, unchained, seq, hash, more=more and not broken, expected_seq=expected_seq, broken=broken)


def _wrong(row: Row, before: int, previous: bytes, *, chained: bool) -> Break | None:
    if row.seq > before + 1:
        return Break(before + 1, f"it is missing; row {row.seq} follows row {before}")
    if row.seq <= before:
        return Break(row.seq, "there are two rows of this number" if row.seq > 0 else "no row has this number")
    if row.hash is None and not chained:
        return None
    try:
        fits = row.hash == link(previous, row.covered)
    except (UnicodeEncodeError, OverflowError):  # values that we never write
        fits = False
    return None if fits else Break(row.seq, CHANGED)


# --- reading ---------------------------------------------------------------------------------------------------------


def _rows(connection: sqlite3.Connection, after: int, limit: int) -> tuple[list[Row], list[int], bool]:
    """The next rows of both tables, the calls that only attempts speak of, and whether there are more."""
    calls, events = (
        _after(connection, "outcome", _CALL, after, limit),
        _after(connection, "event", _EVENT, after, limit),
    )
    merged = list(islice(merge(calls, events, key=_seq), limit + 1))
    more = len(merged) > limit
    if more and _seq(merged[limit]) == _seq(merged[limit - 1]):
        limit += 1  # a number that comes twice must not end one page and be skipped by the next
    until = _seq(merged[limit - 1]) if more else LAST_SEQ
    attempts = _attempts(connection, after, until)
    rows = [_row(values, attempts) for values in merged[:limit]]
    return rows, sorted(attempts), more


def _with_odd_text(connection: sqlite3.Connection, after: int, limit: int) -> tuple[list[Row], list[int], bool]:
    """Text that is no UTF-8 cannot be read as text; nor can it be what was written."""
    connection.text_factory = _odd_text
    try:
        return _rows(connection, after, limit)
    finally:
        connection.text_factory = str


def _odd_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _after(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], after: int, limit: int
) -> list[Values]:
    query = f"SELECT {', '.join(columns)} FROM {table} WHERE seq >= ? ORDER BY seq LIMIT ?"
    first = after + 1 if after else -LAST_SEQ - 1  # the first page has the rows of numbers that are never given as well
    return connection.execute(query, [first, limit + 1]).fetchall()


def _attempts(connection: sqlite3.Connection, after: int, until: int) -> dict[int, list[Values]]:
    """By their call. Those of no possible call belong to the first page, or to the last."""
    found: dict[int, list[Values]] = defaultdict(list)
    bounds = [("call > ?", after)] if after else []
    bounds += [("call <= ?", until)] if until < LAST_SEQ else []
    where = " AND ".join(["1", *(clause for clause, _ in bounds)])
    query = f"SELECT {', '.join(_ATTEMPT)} FROM attempt WHERE {where} ORDER BY call, position"
    for values in connection.execute(query, [value for _, value in bounds]):
        call = values[0]
        found[call if isinstance(call, int) else LAST_SEQ].append(values)
    return found


def _row(values: Values, attempts: dict[int, list[Values]]) -> Row:
    seq = _seq(values)
    if len(values) == len(_EVENT):
        return Row(seq, values[-1], list(values[:-1]))
    called = values[:-1] if values[-2] is not None else values[:-2]  # what was decided, where something was
    covered = as_hashed(called, _CALL_NULLABLE[: len(called)])
    for tried in attempts.pop(seq, ()):
        covered += as_hashed(*_with_values(tried))
    return Row(seq, values[-1], covered)


def _with_values(tried: Values) -> tuple[Values, tuple[bool, ...]]:
    """The columns that an attempt's row was written with."""
    width = len(ATTEMPT_COLUMNS)
    if tried[width:] != NO_GPU:
        return tried, _ATTEMPT_NULLABLE
    return tried[:width], _ATTEMPT_NULLABLE[:width]


def _seq(values: Values) -> int:
    first = values[0]
    assert isinstance(first, int)  # SQLite lets nothing else be an INTEGER PRIMARY KEY
    return first


def _bytes(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != len(GENESIS):
        raise ProxyError("invalid_request", "a hash is 64 hexadecimal digits", param="expect")
    return found


def pages(connection: sqlite3.Connection, expect: str | None = None, *, limit: int = PAGE_ROWS) -> Iterator[Verified]:
    """The whole file, to its end or to the first break."""
    page = verify(connection, expect=expect, limit=limit)
    yield page
    while page.more:  # ends: each page begins behind the one before
        page = verify(connection, page.seq, hash=page.hash, expect=expect, limit=limit)
        yield page
