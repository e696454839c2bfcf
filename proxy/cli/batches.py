"""`headgate batches`: the batches of all owners, one of them with what is wrong with it; `cancel` ends one.

It asks the admin listener of a running gate.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from urllib.parse import quote

from proxy.cli.asking import Refusal, add_connection, refuse, report, with_query
from proxy.cli.options import Subparsers
from proxy.cli.table import Page
from proxy.state.batch_report import BatchReport, BatchRow

HEAD = ("batch", "agent", "run", "endpoint", "status", "lines", "answered", "failed")

EXAMPLES = """\
examples:
  headgate batches                    the newest, of all owners
  headgate batches show BATCH         one of them
  headgate batches cancel BATCH       ends it: what was answered is kept

Exit codes: 0 done, 1 not done, 2 wrong usage.
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "batches",
        help="batches: how far they are; cancel",
        description="Shows the batches of all owners, and ends one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("action", nargs="?", choices=("list", "show", "cancel"), default="list", help="default: list")
    parser.add_argument("batch", nargs="?", metavar="BATCH", help="show, cancel: its id")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="list: at most so many (20)")
    parser.add_argument("--before", metavar="BATCH", help="list: those that are older than this one")
    add_connection(parser)


def batches(args: argparse.Namespace) -> int:
    if (args.action == "list") != (args.batch is None):
        return refuse(Refusal("`show` and `cancel` need the id of a batch, `list` takes none", 2))
    if args.action == "list":
        target = with_query("/batches", {"limit": str(args.limit), "before": args.before})
        return report(args, target, BatchReport, lines=_listed)
    path = f"/batches/{quote(args.batch, safe='')}"
    if args.action == "cancel":
        return report(args, f"{path}/cancel", BatchRow, lines=_shown, order={})
    return report(args, path, BatchRow, lines=_shown)


def _listed(answer: BatchReport, page: Page) -> Iterator[str]:
    yield from page.table(HEAD, [_cells(row) for row in answer.rows])
    if answer.more:
        yield f"older ones: --before {answer.rows[-1].id}"


def _shown(row: BatchRow, page: Page) -> Iterator[str]:
    yield from page.table(HEAD, [_cells(row)])
    for name, file in (("input", row.input_file_id), ("output", row.output_file_id), ("errors", row.error_file_id)):
        if file is not None:
            yield f"{name:7} {file}"
    yield from row.errors


def _cells(row: BatchRow) -> tuple[str, ...]:
    counts = [str(count) for count in (row.total, row.completed, row.failed)]
    return (row.id, row.agent, row.run or "", row.endpoint, row.status, *counts)
