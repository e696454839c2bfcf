"""One shape for every trace that can be played again: runs of calls, with lengths, pauses and what their prompts share.

Read are recorded agent sessions, Mooncake's conversations, Azure's CSV of arrivals, and what `headgate ledger export`
writes (JSON lines or CSV); each as it is or gzipped. A call without a run is a run of its own. What a prompt says is
not recorded: `ranges` number its blocks, and an equal number within a scope means an equal beginning up to its end.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

WITHIN_S = 3_600.0  # sessions whose beginnings were not recorded begin within it
INPUT_MAX = 200_000  # tokens; longer calls of sessions are left out
STEPS_MAX = 60  # of a session
THINK_S, THINK_MAX_S = 5.0, 60.0
LEDGER_BLOCK = 64
KINDS = ("input_uncached", "input_cached", "input_cache_write_5m", "input_cache_write_1h")
ENDPOINTS = frozenset({"chat", "completions", "responses"})
ASIDE = frozenset({"shadow", "probe"})  # attempts that nobody had asked for


class TraceError(ValueError):
    """A file that is no trace; the text says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """`think_s`: of the client since the answer before; of a run's first call since its beginning."""

    model: str  # "": not recorded
    tokens: int
    output: int
    think_s: float
    scope: str
    block_tokens: int
    ranges: tuple[tuple[int, int], ...]
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """`name` None: a call by itself. `begins_s`: since the beginning of the trace."""

    name: str | None
    begins_s: float
    calls: tuple[Asked, ...]


def read(file: Path, *, calls_max: int, seed: int) -> list[Run]:
    """As many runs as have `calls_max` calls, in the order in which they begin. Raises TraceError, OSError."""
    try:
        rows = rows_of(file)
        found = _kind(rows)(rows, Random(seed))
    except (KeyError, TypeError, ValueError, EOFError) as error:
        raise TraceError(f"{file} is no trace that can be read: {error or type(error).__name__}") from None
    taken, left = list[Run](), calls_max
    for run in found:
        if left <= 0:
            break
        taken.append(run if len(run.calls) <= left else Run(run.name, run.begins_s, run.calls[:left]))
        left -= len(run.calls)
    if not taken:
        raise TraceError(f"{file} has no calls")
    return sorted(taken, key=lambda run: run.begins_s)


Row = Mapping[str, Any]  # as the file has it; what is wrong with it is told by `read`
Rows = Sequence[Row]


def rows_of(file: Path) -> Rows:
    """Its lines, whatever they are rows of."""
    with gzip.open(file, "rt", newline="") if file.suffix == ".gz" else file.open(newline="") as lines:
        if ".csv" in file.suffixes:
            return list(csv.DictReader(lines))
        return [json.loads(line) for line in lines if line.strip()]


def _kind(rows: Rows) -> Callable[[Rows, Random], list[Run]]:
    first = rows[0] if rows else {}
    found = next((kind for name, kind in KINDS_BY_FIELD.items() if name in first), None)
    if found is None:
        raise TraceError("its first line is of none of the formats that are known")
    return found


def _sessions(rows: Rows, rng: Random) -> list[Run]:
    """Shuffled; without the sub-agents."""
    found = []
    for row in rows:
        size = row["block_size"]
        asked = [
            Asked(
                call["model"],
                call["input"],
                call["output"],
                think_s(call),
                row["id"],
                size,
                tuple([(first, last) for first, last in call["blocks"]]),
            )
            for call in played(row)
        ]
        if asked:
            found.append(Run(row["id"], rng.random() * WITHIN_S, tuple(asked)))
    rng.shuffle(found)
    return found


def played(session: Row) -> Sequence[Row]:
    """The calls of a recorded session that are played again."""
    return [call for call in session["calls"] if call["input"] <= INPUT_MAX][:STEPS_MAX]


def think_s(call: Row) -> float:
    """Of its client, since the answer before."""
    return min(THINK_MAX_S, call.get("think_s", THINK_S))


def _conversation(rows: Rows, rng: Random) -> list[Run]:
    found = []
    for row in rows:
        ranges = tuple([(block, block) for block in row["hash_ids"]])
        asked = Asked("", row["input_length"], row["output_length"], 0.0, "", 512, ranges)
        found.append(Run(None, row["timestamp"] / 1000, (asked,)))
    return found


def _azure(rows: Rows, rng: Random) -> list[Run]:
    found, began = list[Run](), 0.0
    for number, row in enumerate(rows):
        at = datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC).timestamp()
        began = at if number == 0 else began
        tokens = int(row["ContextTokens"])
        asked = Asked("", tokens, int(row["GeneratedTokens"]), 0.0, f"call {number}", 64, ((0, tokens // 64 - 1),))
        found.append(Run(None, at - began, (asked,)))
    return found


def _ledger(rows: Rows, rng: Random) -> list[Run]:
    """Of each call the answer that it got. A run's prompts are taken to grow, each from the one before."""
    by_run: dict[str, list[tuple[float, float, Asked]]] = defaultdict(list)
    began = _instant(rows[0])
    for number, row in enumerate(_answers(rows)):
        tokens, at = sum([int(row[kind] or 0) for kind in KINDS]), _instant(row) - began
        run = row["run"] or f"call {number}"
        output = int(row["output"] or 0) + int(row["reasoning"] or 0)
        asked = Asked(
            row["model"], tokens, output, 0.0, run, LEDGER_BLOCK, ((0, tokens // LEDGER_BLOCK - 1),), row["agent"] or ""
        )
        by_run[f"{row['run'] or ''}/{run}"].append((at, at + float(row["duration_s"] or 0), asked))
    return [_grown(key.partition("/")[0] or None, calls) for key, calls in by_run.items()]


def _answers(rows: Rows) -> Iterable[Row]:
    """The last attempt of each call that a client made, that was billed and not in the background."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.get("agent_source") == "gate":
            continue
        if row["usage_source"] and row["endpoint"] in ENDPOINTS and row["role"] not in ASIDE:
            found[row["request_id"]] = row
    return found.values()


def _grown(name: str | None, calls: list[tuple[float, float, Asked]]) -> Run:
    """Its calls one after another; what ran side by side follows at once."""
    ended, asked = calls[0][0], list[Asked]()
    for at, until, call in calls:
        asked.append(replace(call, think_s=max(0.0, at - ended)))
        ended = max(ended, until)
    return Run(name, max(0.0, calls[0][0]), tuple(asked))


def _instant(row: Row) -> float:
    return datetime.fromisoformat(row["at"].replace("Z", "+00:00")).timestamp()


KINDS_BY_FIELD: Mapping[str, Callable[[Rows, Random], list[Run]]] = {
    "calls": _sessions,
    "hash_ids": _conversation,
    "ContextTokens": _azure,
    "request_id": _ledger,
}
