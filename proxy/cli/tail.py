"""`headgate tail`: every call as it ends, a line each, from the live feed of a running gate.

Filters are this command's own. The feed names at most fifty calls a second; of a busier second it says how many more
there were, and so does this. Exit codes: 0 interrupted, 1 no gate answers, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from threading import Event as Flag
from typing import Final

from msgspec import json

from proxy.cli.asking import Refusal, add_connection, refuse
from proxy.cli.feed import Feed, Message
from proxy.cli.options import Subparsers
from proxy.cli.requests import ending
from proxy.cli.table import Page, dollars, seconds
from proxy.state.report import RequestRow, asked
from proxy.telemetry.live_report import Delta, Snapshot

WIDTHS: Final = (12, 14, 16, 22)  # of time, agent, model and target: what comes later is not known yet

EXAMPLES = """\
examples:
  headgate tail
  headgate tail --agent planner --errors
  headgate tail --json | jq .cost_usd_nanos
  headgate tail --lines 0 --route small       only what ends from now on
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "tail",
        help="every call as it ends, live",
        description="Every call as it ends, a line each, until Ctrl-C.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--agent", metavar="NAME", help="only this agent's calls")
    parser.add_argument("--route", metavar="MODEL", help="only calls for this model, as agents ask for it")
    parser.add_argument("--errors", action="store_true", help="only calls that failed or were refused")
    parser.add_argument("--lines", metavar="N", type=_count, default=10, help="so many that have ended (default: 10)")
    add_connection(parser)


def tail(args: argparse.Namespace) -> int:
    try:
        for message in Feed(args, Flag().wait):
            _show(args, message)
    except Refusal as refused:
        return refuse(refused)
    except KeyboardInterrupt:
        return 0
    return 0


def _show(args: argparse.Namespace, message: Message) -> None:
    page = Page(sys.stdout)
    for row in _calls(args, message):
        if args.json:
            sys.stdout.write(json.encode(row).decode() + "\n")
        else:
            page.write(line(row))
    sys.stdout.flush()
    if isinstance(message, Delta) and message.calls_left_out:
        sys.stderr.write(f"headgate: {message.calls_left_out} more calls in this second\n")


def _calls(args: argparse.Namespace, message: Message) -> list[RequestRow]:
    """Those that fit, in the order in which they ended."""
    if not isinstance(message, Snapshot | Delta):
        return []
    found = [row for row in reversed(message.calls) if _fits(args, row)]
    if isinstance(message, Delta):
        return found
    return found[-args.lines :] if args.lines else []


def _fits(args: argparse.Namespace, row: RequestRow) -> bool:
    return (
        args.agent in (None, row.agent)
        and args.route in (None, row.model)
        and (row.error_code is not None or not args.errors)
    )


def line(row: RequestRow) -> str:
    """Columns of a fixed width, so that lines stand below each other as they come."""
    texts = (row.at[11:23], row.agent, row.model, asked(row))
    left = " ".join(text.ljust(width) for text, width in zip(texts, WIDTHS, strict=True))
    first = "-" if row.first_event_s is None else seconds(row.first_event_s)
    figures = f"{first:>7} {seconds(row.duration_s):>8} {row.input_tokens:>7} {row.output_tokens:>6}"
    cost = dollars(row.cost_usd_nanos)
    return f"{left} {figures} {cost:>11}  {row.by:<8} {ending(row)}  {row.request_id}"


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= 50:
        raise argparse.ArgumentTypeError("from 0 to 50")
    return count
