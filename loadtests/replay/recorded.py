"""One shape for every trace that can be played again: runs of calls, with lengths, pauses and what their prompts share.

Read are recorded agent sessions, Mooncake's conversations, Azure's CSV of arrivals, and what `headgate ledger export`
writes (JSON lines or CSV); each as it is or gzipped. A call without a run is a run of its own. What a prompt says is not
recorded: `ranges` number its blocks, and an equal number within a scope means an equal beginning up to its end.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random

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
        rows = _rows(file)
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


Rows = Sequence[Mapping[str, object]]


def _rows(file: Path) -> Rows:
    opened = gzip.open(file, "rt", newline="") if file.suffix == ".gz" else file.open(newline="")
    with opened as lines:
        if ".csv" in file.suffixes:
            return list(csv.DictReader(lines))
        return [json.loads(line) for line in lines if line.strip()]


def _kind(rows: Rows) -> object:
    first = rows[0] if rows else {}
    for name, kind in (("calls", _sessions), ("hash_ids", _conversation), ("ContextTokens", _azure), ("request_id", _ledger)):
        if name in first:
            return kind
    raise TraceError("its first line is of none of the formats that are known")
