"""`headgate budgets`: every limit as it stands, the most used first, with bars on a terminal.

The figures are the running gate's (`GET /budgets`); this only lays them out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from proxy.cli.asking import add_connection, report, with_query
from proxy.cli.options import Subparsers
from proxy.cli.table import Page, dollars
from proxy.config.values import usd_nanos
from proxy.state.budget_report import Amount, BudgetList, BudgetRow

BAR_CELLS = 20
KINDS = ("team", "key", "agent", "run")
HEAD = ("account", "limit", "used", "spent", "held", "left", "an hour", "resets", "empty", "rung")
NONE = "no budget is configured, or none fits: see `budget` under agents, defaults, keys and teams"

EXAMPLES = """\
examples:
  headgate budgets                      the most used first
  headgate budgets agent:planner        one account
  headgate budgets --kind run --limit 5
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "budgets",
        help="every budget: spent, held, left, and when it will be empty",
        description="Every limit of every account as it stands: spent, held, left, and when it will be empty.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("account", metavar="ACCOUNT", nargs="?", help="one account, such as agent:planner")
    parser.add_argument("--kind", choices=KINDS, help="only accounts of this kind")
    parser.add_argument("--limit", type=int, default=50, help="most rows to show (default: 50)")
    add_connection(parser)


def budgets(arguments: argparse.Namespace) -> int:
    parameters = {"account": arguments.account, "kind": arguments.kind, "limit": str(arguments.limit)}
    return report(arguments, with_query("/budgets", parameters), BudgetList, lines=_lines)


def _lines(answer: BudgetList, page: Page) -> Iterator[str]:
    if not answer.rows:
        yield NONE
        return
    bars = sys.stdout.isatty()
    yield from page.table(HEAD, [_cells(row, bars=bars) for row in answer.rows])
    for row in answer.rows:
        yield from _besides(row)
    if answer.truncated:
        yield f"only the {len(answer.rows)} that are used most are shown"


def _cells(row: BudgetRow, *, bars: bool) -> tuple[str, ...]:
    share = f"{row.used:.0%}"
    window = "" if row.window == "total" else f"/{row.window}"
    return (
        row.account,
        f"{amount_shown(row, row.limit)}{'' if row.unit == 'usd' else ' ' + row.unit}{window}",
        f"{bar(row.used)} {share:>4}" if bars else share,
        amount_shown(row, row.spent),
        amount_shown(row, row.held),
        amount_shown(row, row.left),
        "-" if row.rate_per_hour is None else amount_shown(row, row.rate_per_hour),
        row.resets_at or "never",
        row.exhausted_at or "-",
        row.rung or "-",
    )


def _besides(row: BudgetRow) -> Iterator[str]:
    """What is missing between spent, held and left."""
    found = ((row.overrun, "overrun"), (row.unresolved, "unresolved since a crash"))
    shown = [(amount_shown(row, amount), word) for amount, word in found]
    parts = [f"{amount} {word}" for amount, word in shown if amount not in ("0", "$0.00")]
    if parts:
        yield f"{row.account} {row.unit}/{row.window}: besides, {', '.join(parts)}"


def bar(used: float) -> str:
    """A full cell is a twentieth; what is used at all shows, and only what is full is full."""
    cells = min(BAR_CELLS, int(used * BAR_CELLS))
    if cells == 0 and used > 0:
        cells = 1
    return "█" * cells + "░" * (BAR_CELLS - cells)


def amount_shown(row: BudgetRow, amount: Amount) -> str:
    """Money with the digits that matter; `--json` has all of them."""
    if row.unit != "usd" or not isinstance(amount, str):
        return str(amount)
    sign, text = (-1, amount[1:]) if amount.startswith("-") else (1, amount)
    return dollars(sign * usd_nanos(text))
