"""`headgate experiments`: what the experiments on live calls have shown; `headgate experiments reset NAME` begins one
anew.

It asks the admin listener of a running gate.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from policies.experiment_report import Matched, MeasureName, Report, Reports, Row, Side
from proxy.cli.asking import Refusal, add_connection, refuse, report
from proxy.cli.options import Subparsers
from proxy.cli.table import Page

HEAD: Final = ("measure", "control", "candidate", "difference", "95 %, one look", "95 %, any look", "verdict")
ABSENT: Final = "-"

EXAMPLES = """\
examples:
  headgate experiments                      every experiment: both arms, their difference, what may be said of it
  headgate experiments show smart-test      one of them
  headgate experiments reset smart-test     what was measured so far counts no more

A verdict follows from the interval that holds at any look: look as often as you like. Exit codes: 0 done, 1 not done,
2 wrong usage.
"""


class Begun(Struct, frozen=True):
    """What a reset answers."""

    experiment: str


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "experiments",
        help="two models compared on live calls: difference, interval, verdict; reset",
        description="Shows what experiments on live calls have shown, and begins one anew.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("action", nargs="?", choices=("show", "reset"), default="show", help="default: show")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the model that is an experiment; show: default all")
    add_connection(parser)


def experiments(args: argparse.Namespace) -> int:
    if args.action == "reset":
        if args.name is None:
            return refuse(Refusal("which experiment? name it", 2))
        return report(args, f"/experiments/{quote(args.name, safe='')}/reset", Begun, lines=_begun, order={})
    if args.name is None:
        return report(args, "/experiments", Reports, lines=_shown)
    return report(args, f"/experiments/{quote(args.name, safe='')}", Report, lines=_one)


def _begun(answer: Begun, page: Page) -> Iterator[str]:
    yield f"{answer.experiment} begins anew"


def _shown(answer: Reports, page: Page) -> Iterator[str]:
    if not answer.rows:
        yield "no experiment is configured"
    for at, each in enumerate(answer.rows):
        if at:
            yield ""
        yield from _one(each, page)


def _one(answer: Report, page: Page) -> Iterator[str]:
    of = answer.design
    how = "answers" if of.mode == "split" else "is asked in the shadow of"
    yield f"{of.name}: control {of.control}, candidate {of.candidate}, which {how} {of.share:.0%} of the {of.unit}s"
    if answer.since is not None:
        yield f"since {answer.since}" + (", the latest calls alone" if answer.truncated else "")
    yield from page.table(HEAD, [_row(row) for row in answer.rows])
    if answer.matched is not None:
        yield _matched(answer.matched)
    yield answer.conclusion


def _row(row: Row) -> tuple[str, ...]:
    name = row.measure
    return (
        _name(row),
        _side(name, row.control),
        _side(name, row.candidate),
        ABSENT if row.difference is None else _value(name, row.difference, "+"),
        _between(name, row.once),
        _between(name, row.ever),
        row.verdict,
    )


def _name(row: Row) -> str:
    return f"{row.measure.removesuffix('_usd').removesuffix('_s').replace('_', ' ')} ({_unit(row.measure)})"


def _unit(name: MeasureName) -> str:
    return {"cost_usd": "USD", "duration_s": "s", "first_event_s": "s"}.get(name, "share")


def _side(name: MeasureName, side: Side) -> str:
    """`0.0123 of 400 in 52`: calls, and the units that they are of."""
    if side.value is None:
        return ABSENT
    times = "" if side.p50 is None or side.p95 is None else f" (p50 {side.p50:.2f}, p95 {side.p95:.2f})"
    return f"{_value(name, side.value)}{times} of {side.calls} in {side.units}"


def _between(name: MeasureName, limits: tuple[float, float] | None) -> str:
    return ABSENT if limits is None else f"{_value(name, limits[0], '+')} to {_value(name, limits[1], '+')}"


def _value(name: MeasureName, value: float, sign: str = "") -> str:
    digits = {"cost_usd": ".6f", "duration_s": ".3f", "first_event_s": ".3f"}.get(name, ".1%")
    return f"{value:{sign}{digits}}"


def _matched(matched: Matched) -> str:
    good = "a good answer" if matched.good == "quality" else "an answer"
    low, high = matched.ever
    return (
        f"at equal cost: {good} costs {matched.control_usd:.6f} USD of the control, {matched.candidate_usd:.6f} USD of "
        f"the candidate, {matched.times:.2f} times as many for the same money ({low:.2f} to {high:.2f}, any look)"
    )
