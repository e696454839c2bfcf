"""`headgate ledger export`: a line for each attempt and each known answer, asked of the running gate page by page.

Costs are exact decimal text in USD; what is absent is an empty cell or `null`. A file appears under its name once it is
whole.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from msgspec import json, structs

from policies.refusal import amount
from proxy.cli.asking import Refusal, answer, refuse, with_query
from proxy.cli.progress import Progress
from proxy.clock import SystemClock
from proxy.state.ledger_report import AttemptPage, AttemptRow

FORMATS: Final = ("jsonl", "csv")
NOT_SHOWN: Final = frozenset({"seq", "at_ms"})
NAMES: Final = tuple(
    name.removesuffix("_nanos") for name in AttemptRow.__struct_fields__ if name not in NOT_SHOWN
)  # amounts lose the end of their name, and become text

Cell = str | int | float | None


def export(args: argparse.Namespace) -> int:
    progress = Progress("lines", sys.stderr, SystemClock())
    try:
        with _file(args.output) as out:
            write = _Table(out) if args.format == "csv" else _Lines(out)
            for page in attempts(args, since=args.since, until=args.until, provider=args.provider):
                for row in page.rows:
                    write.row(cells(row))
                progress.add(len(page.rows))
    except Refusal as refused:
        return refuse(refused)
    except BrokenPipeError:
        raise  # whoever reads our output has seen enough: the command's own end
    except OSError as error:
        return refuse(Refusal(f"{args.output or 'standard output'} cannot be written: {error.strerror}"))
    finally:
        progress.end()
    if args.output:
        sys.stderr.write(f"{progress.count:,} lines in {args.output}\n")
    return 0


def attempts(
    args: argparse.Namespace, *, since: str | None, until: str | None, provider: str | None
) -> Iterator[AttemptPage]:
    """Raises Refusal."""
    after: int | None = 0
    while after is not None:  # ends: each page begins behind the one before
        query = {"since": since, "until": until, "provider": provider, "after": str(after)}
        page = answer(args, with_query("/ledger/attempts", query), AttemptPage)
        yield page
        after = page.after


def cells(row: AttemptRow) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for name, value in structs.asdict(row).items():
        if name.endswith("_usd_nanos") and isinstance(value, int):
            found[name.removesuffix("_nanos")] = amount("usd", value)
        elif name not in NOT_SHOWN:
            found[name.removesuffix("_nanos")] = value
    return found


class _Lines:
    def __init__(self, out: TextIO) -> None:
        self._out = out

    def row(self, found: dict[str, Cell]) -> None:
        self._out.write(json.encode(found).decode() + "\n")


class _Table:
    def __init__(self, out: TextIO) -> None:
        self._writer = csv.writer(out, lineterminator="\n")
        self._writer.writerow(NAMES)

    def row(self, found: dict[str, Cell]) -> None:
        self._writer.writerow(["" if found[name] is None else found[name] for name in NAMES])


@contextmanager
def _file(path: Path | None) -> Iterator[TextIO]:
    """Raises OSError. What was begun and not finished leaves no file of that name."""
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as out:
            yield out
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
