"""`headgate ledger`: verify the hash chain, export attempts, hold a provider's bill against them.

It declares what can be typed; each action is a module of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from proxy.cli import ledger_export, ledger_reconcile, ledger_verify
from proxy.cli.asking import add_connection
from proxy.cli.options import Subparsers

EXAMPLES = """\
examples:
  headgate ledger verify                                   is every row as it was written? asks the running gate
  headgate ledger verify --data-dir ./headgate-data        the same for a gate that is stopped
  headgate ledger verify --expect HASH                     ... and nothing was cut off behind the row of a logged hash
  headgate ledger export --since 1d --format csv --output yesterday.csv
  headgate ledger reconcile bill.csv --provider openai     what the provider says against what the ledger says
  headgate ledger reconcile bill.csv --provider openai --adjust
"""

WHEN = "30m, 6h, 1d or a date such as 2026-01-31"


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "ledger",
        help="verify the ledger, export it, hold a provider's bill against it",
        description="Verifies the ledger's hash chain, exports attempts, holds a provider's bill against them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _verify_options(_action(actions, "verify", "compute the hash chain again; 1 when a row does not fit"))
    _export_options(_action(actions, "export", "one line for each attempt, as CSV or JSON lines"))
    _reconcile_options(_action(actions, "reconcile", "hold a provider's bill against the ledger; 1 above 0.01 %%"))


def ledger(args: argparse.Namespace) -> int:
    if args.action == "verify":
        return ledger_verify.verify(args)
    return ledger_export.export(args) if args.action == "export" else ledger_reconcile.reconcile(args)


def _action(actions: Subparsers, name: str, purpose: str) -> argparse.ArgumentParser:
    description = f"{purpose[0].upper()}{purpose[1:]}.".replace("%%", "%")
    return actions.add_parser(name, help=purpose, description=description, allow_abbrev=False)


def _verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", metavar="DIR", type=Path, help="read the file of a gate that is stopped")
    parser.add_argument("--expect", metavar="HASH", help="a hash that was logged: some row must have it")
    add_connection(parser)


def _export_options(parser: argparse.ArgumentParser) -> None:
    _window(parser)
    parser.add_argument("--format", choices=ledger_export.FORMATS, default="jsonl", help="default: jsonl")
    parser.add_argument("--output", metavar="FILE", type=Path, help="there once it is whole; default: standard output")
    parser.add_argument("--provider", metavar="NAME", help="only attempts at this provider")
    add_connection(parser)


def _reconcile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bill", metavar="BILL", type=Path, help="CSV with a header, or JSON lines")
    parser.add_argument("--provider", metavar="NAME", help="whose bill it is, by its name in the configuration")
    _window(parser)
    parser.add_argument("--adjust", action="store_true", help="book the differences of what was found on both sides")
    parser.add_argument(
        "--release", action="store_true", help="with --adjust: lost calls it does not show cost nothing"
    )
    add_connection(parser)


def _window(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", metavar="WHEN", help=WHEN)
    parser.add_argument("--until", metavar="WHEN", help="as --since (default: now)")
