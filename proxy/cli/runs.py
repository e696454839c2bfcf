"""`headgate runs`: the latest runs, one run as a tree, and an operator's word on one: kill, pause, resume, top up.

It asks the admin listener of a running gate. The first word is a run's id or one of the actions; a run that is called
like an action is shown by `show`.
"""

from __future__ import annotations

import argparse
from decimal import Decimal, InvalidOperation
from urllib.parse import quote

from proxy.cli import runs_view
from proxy.cli.asking import Refusal, add_connection, refuse, report, with_query
from proxy.cli.options import Subparsers
from proxy.state.run_report import Governed, Runs, RunTree, ToppedUp

ACTIONS = ("show", "kill", "pause", "resume", "topup")
UNITS = ("usd", "tokens", "requests", "steps", "concurrency")

EXAMPLES = """\
examples:
  headgate runs                              the latest runs: state, calls, cost
  headgate runs trip-1                       one run: its tree, its cost, its critical path
  headgate runs kill trip-1                  ends it: calls in flight are cut and billed, new ones refused, for good
  headgate runs pause trip-1                 new calls wait outside; those in flight may end
  headgate runs pause trip-1 --cancel        ... and are cut as well
  headgate runs resume trip-1
  headgate runs topup trip-1 --usd 0.50      more room under the budget of this run
  headgate runs kill trip-1 --tenant team:a  that of team a, where other teams have a run of that name too
  headgate runs kill -- -x                   one whose name begins with a dash; options stand before the `--`

What is said of a run holds for the runs below it. Exit codes: 0 done, 1 not done, 2 wrong usage.
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "runs",
        help="the latest runs, one run as a tree, and kill, pause, resume, topup",
        description="Shows runs, and ends, pauses, resumes or tops up one that is going on.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    first = parser.add_argument("first", metavar="[RUN]", help=f"a run to show; or {', '.join(ACTIONS)}")
    run_id = parser.add_argument("run_id", metavar="[ID]", help="the run that the action is about")
    first.required = run_id.required = False  # `nargs="?"` would hear no ID behind an option that follows the action
    parser.add_argument("--tenant", metavar="WHOSE", help="whose run: team:NAME, or key:ID for a key without a team")
    parser.add_argument("--agent", help="list only this agent's calls")
    parser.add_argument("--since", metavar="WHEN", help="list runs with a call since then: 30m, 6h, 1d or a date")
    parser.add_argument("--limit", type=int, default=20, help="most rows to list (default: 20)")
    parser.add_argument("--cancel", action="store_true", help="pause: cut the calls in flight as well")
    parser.add_argument("--unseen", action="store_true", help="kill, pause: also a run that has made no call yet")
    for unit in UNITS:
        shown = "AMOUNT" if unit == "usd" else "N"
        parser.add_argument(f"--{unit}", metavar=shown, help=f"topup: so much more under its limits in {unit}")
    parser.add_argument("--id", metavar="NAME", help="names this command: repeated, it is carried out once")
    add_connection(parser)


def runs(args: argparse.Namespace) -> int:
    try:
        action, run = _asked(args)
        order = _order(args, action)
    except Refusal as refused:
        return refuse(refused)
    if run is None:
        query = {"agent": args.agent, "since": args.since, "limit": str(args.limit)}
        return report(args, with_query("/runs", query), Runs, lines=runs_view.listed)
    path = f"/runs/{quote(run, safe='')}"
    path = with_query(path if action == "show" else f"{path}/{action}", {"tenant": args.tenant})
    if action == "show":
        return report(args, path, RunTree, lines=runs_view.tree)
    if action == "topup":
        return report(args, path, ToppedUp, lines=runs_view.topped_up, order=order)
    return report(args, path, Governed, lines=runs_view.governed, order=order)


def _asked(args: argparse.Namespace) -> tuple[str, str | None]:
    """The action and the run; no run: the list."""
    if args.first in ACTIONS:
        if args.run_id is None:
            raise Refusal(f"which run? `headgate runs {args.first} ID`", 2)
        return args.first, args.run_id
    if args.run_id is not None:
        raise Refusal(f"{args.first!r} is no action; those are {', '.join(ACTIONS)}", 2)
    return "show", args.first


def _order(args: argparse.Namespace, action: str) -> dict[str, object]:
    """The body. What another action takes is refused, so that nobody thinks that it was heard."""
    takes = {"pause": ("cancel", "unseen"), "kill": ("unseen",), "topup": UNITS}.get(action, ())
    given = {name: getattr(args, name) for name in ("cancel", "unseen", *UNITS) if getattr(args, name)}
    strange = [name for name in given if name not in takes]
    if strange:
        raise Refusal(f"--{strange[0]} means nothing to `{action}`", 2)
    if action == "topup" and len(given) != 1:
        raise Refusal(f"how much? exactly one of {', '.join(f'--{unit}' for unit in UNITS)}", 2)
    order = {name: _value(name, value) for name, value in given.items()}
    return order if args.id is None else {"id": args.id, **order}


def _value(name: str, value: str | bool) -> object:
    if isinstance(value, bool):
        return value
    if name == "usd":
        return _dollars(value)
    if not (value.isascii() and value.isdecimal()):
        raise Refusal(f"--{name} wants a whole number", 2)
    return int(value)


def _dollars(text: str) -> str:
    """As it was typed: the gate says which amounts it takes."""
    try:
        Decimal(text)
    except InvalidOperation:
        raise Refusal(f"--usd wants an amount such as 0.50, not {text!r}", 2) from None
    return text
