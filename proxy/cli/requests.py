"""`headgate requests`: the latest calls that fit all filters, a line each; `explain` tells one of them in full.

It asks the admin listener of a running gate (`GET /requests`). The line of a call is also what `tail` prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from proxy.cli.asking import add_connection, report, with_query
from proxy.cli.options import Subparsers
from proxy.cli.table import Page, dollars, seconds
from proxy.state.report import RequestRow, Requests, asked

FILTERS: Final = ("agent", "model", "run", "key", "team", "target", "status", "error", "served_by")
WINDOW: Final = ("since", "limit", "before")
HEAD: Final = (
    *("at", "agent", "run", "model", "target", "end", "by", "tries", "first", "took"),
    *("input", "output", "cost", "request"),
)

EXAMPLES = """\
examples:
  headgate requests                               the latest calls
  headgate requests --agent planner --since 1h
  headgate requests --error budget_exceeded       those that a budget has refused
  headgate requests --served-by hedge --json
  headgate requests --before 1234                 the next page: the number stands below the one before

What several filters say must all be true of a call.
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "requests",
        help="the latest calls, by agent, run, model, target, error ...",
        description="The latest calls that fit all filters, a line each.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name in FILTERS:
        shown = "CODE" if name in ("status", "error") else "NAME"
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=shown, help=_about(name))
    parser.add_argument("--since", metavar="WHEN", help="30m, 6h, 1d or a date such as 2026-01-31 (default: always)")
    parser.add_argument("--limit", type=int, default=20, help="most rows, up to 500 (default: 20)")
    parser.add_argument("--before", metavar="N", help="the next page, by the number below the one before")
    add_connection(parser)


def requests(args: argparse.Namespace) -> int:
    query = {name: getattr(args, name) for name in (*FILTERS, "since", "before")} | {"limit": str(args.limit)}
    return report(args, with_query("/requests", query), Requests, lines=listed)


def listed(answer: Requests, page: Page) -> Iterator[str]:
    if not answer.rows:
        yield "no call fits"
        return
    yield from page.table(HEAD, [cells(row) for row in answer.rows])
    if answer.before is not None:
        yield f"earlier ones: --before {answer.before}"


def cells(row: RequestRow) -> tuple[str, ...]:
    return (
        row.at,
        row.agent,
        row.run or "-",
        row.model,
        asked(row),
        ending(row),
        row.by,
        str(row.attempts),
        "-" if row.first_event_s is None else seconds(row.first_event_s),
        seconds(row.duration_s),
        str(row.input_tokens),
        str(row.output_tokens),
        dollars(row.cost_usd_nanos),
        row.request_id,
    )


def ending(row: RequestRow) -> str:
    """Its status, and what went wrong."""
    return str(row.status) if row.error_code is None else f"{row.status} {row.error_code}"


def _about(name: str) -> str:
    words = {
        "status": "only those with this status",
        "error": "only those that ended with this error code",
        "served_by": "only those answered so: primary, retry, hedge, fallback, cascade, quorum, best, cache, join",
    }
    return words.get(name, f"only those of this {name}")
