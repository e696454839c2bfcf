"""`headgate ledger verify`: the hash chain computed again, by the running gate or over the file of a stopped one.

It says how many rows fit, the newest hash, or the first row that does not fit and what that means.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct, json

from proxy.cli.asking import Refusal, answer, refuse, with_query
from proxy.cli.progress import Progress
from proxy.cli.table import Page
from proxy.clock import SystemClock
from proxy.errors import ProxyError
from proxy.state.ledger_report import Break, Verified
from proxy.state.verify import open_read_only, pages

BROKEN = """\
Everything before that row is as it was written. From there on the file was edited by something other than the gate;
compare it with a backup, and the newest hash of that with the hashes in the log."""
CUT = """\
No row has the hash that was expected: rows were cut off behind the newest one, the whole chain was made anew, or the
hash is another ledger's."""
STOPPED = "; for a gate that is stopped, say where its file is: --data-dir DIR"


class Verdict(Struct, frozen=True):
    whole: bool
    rows: int
    unchained: int  # rows from before there was a chain
    seq: int
    hash: str
    broken: Break | None
    expected_seq: int | None  # the row that has the expected hash


def verify(args: argparse.Namespace) -> int:
    progress = Progress("rows", sys.stderr, SystemClock())
    try:
        found = _of_file(args.data_dir, args.expect) if args.data_dir else _of_gate(args)
        verdict = _verdict(found, progress, expects=args.expect is not None)
    except (Refusal, ProxyError, sqlite3.Error) as refused:
        return refuse(_refusal(refused))
    finally:
        progress.end()
    if args.json:
        sys.stdout.write(json.encode(verdict).decode() + "\n")
    else:
        page = Page(sys.stdout)
        for line in _lines(verdict, progress):
            page.write(line)
    return 0 if verdict.whole else 1


def _of_gate(args: argparse.Namespace) -> Iterator[Verified]:
    after: int | None = 0
    known: str | None = None
    while after is not None:  # ends: each page begins behind the one before
        query = {"after": str(after), "hash": known, "expect": args.expect}
        page = answer(args, with_query("/ledger/verify", query), Verified)
        yield page
        after, known = (page.seq, page.hash) if page.more else (None, None)


def _of_file(folder: Path, expect: str | None) -> Iterator[Verified]:
    path = folder / "ledger.db"
    if not path.exists():
        raise Refusal(f"there is no ledger in {folder}", 2)
    connection = open_read_only(path)
    try:
        yield from pages(connection, expect)
    finally:
        connection.close()


def _verdict(found: Iterable[Verified], progress: Progress, *, expects: bool) -> Verdict:
    rows = unchained = 0
    expected_seq: int | None = None
    last = Verified(0, 0, 0, "", more=False)
    for last in found:
        rows, unchained = rows + last.checked, unchained + last.unchained
        expected_seq = last.expected_seq if last.expected_seq is not None else expected_seq
        progress.add(last.checked + last.unchained)
    whole = last.broken is None and (expected_seq is not None or not expects)
    return Verdict(whole, rows, unchained, last.seq, last.hash, last.broken, expected_seq)


def _lines(verdict: Verdict, progress: Progress) -> Iterator[str]:
    yield f"checked {progress.rate}"
    if verdict.unchained:
        yield f"the first {verdict.unchained:,} rows are older than the chain and cannot be checked"
    if verdict.broken is not None:
        yield f"row {verdict.broken.seq} does not fit: {verdict.broken.why}"
        yield from BROKEN.splitlines()
        return
    yield f"newest row {verdict.seq}, hash {verdict.hash or 'none'}"
    if verdict.expected_seq is not None:
        yield f"the expected hash is that of row {verdict.expected_seq}"
    if verdict.whole:
        yield "every row is as it was written"
    else:
        yield from CUT.splitlines()


def _refusal(refused: Exception) -> Refusal:
    if isinstance(refused, Refusal):
        hint = STOPPED if "nothing listens" in str(refused) else ""
        return Refusal(f"{refused}{hint}", refused.exit_code)
    if isinstance(refused, ProxyError):
        running = "; ask the gate instead: leave --data-dir out" if "in use" in refused.message else ""
        return Refusal(f"{refused.message}{running}", 2 if refused.status == 400 else 1)
    return Refusal(f"the ledger cannot be read: {refused}")
