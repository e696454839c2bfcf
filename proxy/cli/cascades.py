"""`headgate cascades`: what is known of the cheap rungs, for each agent; `headgate cascades reset` forgets some of it.

It asks the admin listener of a running gate.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from policies.conformal import Heard, Standing, Standings
from proxy.cli.asking import Refusal, add_connection, refuse, report
from proxy.cli.forgetting import chosen
from proxy.cli.options import Subparsers
from proxy.cli.table import Page

NAMES = ("agent", "model")
HEAD = ("agent", "model", "rung", "labels", "worse", "at most", "allowed", "accepted", "from", "what follows")

EXAMPLES = """\
examples:
  headgate cascades                            how good the cheap answers are, for each agent
  headgate cascades reset --model smart        what was learnt of one cascade counts no more
  headgate cascades reset --all

What several options say must all be true of what is forgotten. Exit codes: 0 done, 1 not done, 2 wrong usage.
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "cascades",
        help="how good the cheap answers of cascades are; reset",
        description="Shows what is known of the cheap rungs of cascades, and forgets it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("action", nargs="?", choices=("show", "reset"), default="show", help="default: show")
    parser.add_argument("--agent", metavar="NAME", help="reset: of this agent")
    parser.add_argument("--model", metavar="NAME", help="reset: of this cascade, as agents ask for it")
    parser.add_argument("--all", action="store_true", help="reset: of all of them")
    add_connection(parser)


def cascades(args: argparse.Namespace) -> int:
    try:
        order = _order(args)
    except Refusal as refused:
        return refuse(refused)
    if order is None:
        return report(args, "/cascades", Standings, lines=_shown)
    return report(args, "/cascades/reset", Heard, lines=_forgotten, order=order)


def _order(args: argparse.Namespace) -> dict[str, object] | None:
    return chosen(args, NAMES, action="reset", which="of which cascades")


def _shown(answer: Standings, page: Page) -> Iterator[str]:
    if not answer.rows:
        yield "no cheap answer was compared yet"
        return
    yield from page.table(HEAD, [_row(standing) for standing in answer.rows])


def _row(standing: Standing) -> tuple[str, ...]:
    return (
        standing.agent,
        standing.model,
        str(standing.rung),
        str(standing.labels),
        f"{standing.losses:g}",
        f"{standing.loss_at_most:.1%}",
        f"{standing.loss_max:.1%}",
        f"{standing.accepted_share:.0%}",
        "" if standing.accepts_from is None else f"{standing.accepts_from:.2f}",
        standing.said,
    )


def _forgotten(answer: Heard, page: Page) -> Iterator[str]:
    yield "forgotten: 1 rung" if answer.rungs == 1 else f"forgotten: {answer.rungs} rungs"
