"""What the ledger keeps of experiments, as SQL: one event for each call or word, and one wherever an experiment began
anew."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

TRIAL: Final = "trial"
RESET: Final = "trial_reset"
SAMPLES_MAX: Final = 30_000  # looked at, the latest; they are added up within a fifth of a second


class Kept(NamedTuple):
    """Bodies of what was kept of one experiment, the latest first; `since`: of the first of them."""

    bodies: list[str]
    since: str | None
    truncated: bool


def kept(connection: sqlite3.Connection, experiment: str) -> Kept:
    newest = "SELECT coalesce(max(seq), 0) FROM event WHERE kind = ? AND subject = ?"
    (begun,) = connection.execute(newest, [RESET, experiment]).fetchone()
    rows = connection.execute(
        "SELECT body, strftime('%Y-%m-%dT%H:%M:%fZ', at_ms / 1000.0, 'unixepoch') FROM event"
        " WHERE kind = ? AND subject = ? AND seq > ? ORDER BY seq DESC LIMIT ?",
        [TRIAL, experiment, begun, SAMPLES_MAX + 1],
    ).fetchall()
    shown = rows[:SAMPLES_MAX]
    return Kept([body for body, _ in shown], shown[-1][1] if shown else None, len(rows) > SAMPLES_MAX)
