"""`headgate targets`: every target, whether it may be asked, what runs there, and how fast it has been; and the runs
that were let in to pools of one's own engines, where a gate stands before them.

The figures are the running gate's (`GET /targets` and `GET /gates`); this only lays them out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from proxy.cli.asking import add_connection, report
from proxy.cli.options import Subparsers
from proxy.cli.table import Page, seconds
from proxy.state.gate_report import GateRow
from proxy.state.target_report import Standing, TargetRow

HEAD = ("target", "state", "calls", "bad", "running", "at most", "first token", "reply", "prompt tokens/s")

GATE_HEAD = ("pool", "active runs", "waiting", "parked", "calls held", "in use", "limit", "of memory", "from cache")


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "targets",
        help="every target: whether it may be asked, what runs there, how fast it is",
        description="Every target: whether it may be asked, what runs there, and how fast it has been.",
        allow_abbrev=False,
    )
    add_connection(parser)


def targets(arguments: argparse.Namespace) -> int:
    code = report(arguments, "/targets", list[TargetRow], lines=_lines)
    if code or arguments.json:
        return code
    return report(arguments, "/gates", list[GateRow], lines=_gates)


def _lines(answer: list[TargetRow], page: Page) -> Iterator[str]:
    yield from page.table(HEAD, [_cells(row) for row in answer])
    for row in answer:
        if row.health is not None and row.health.why:
            yield _why(row.health)


def _gates(answer: list[GateRow], page: Page) -> Iterator[str]:
    if answer:
        yield ""
        yield from page.table(GATE_HEAD, [_gate(row) for row in answer])


def _gate(row: GateRow) -> tuple[str, ...]:
    return (
        row.pool,
        str(row.active),
        str(row.waiting),
        str(row.parked),
        str(row.calls),
        f"{row.in_use:.0f} {row.unit}",
        f"{row.limit:.0f}",
        "-" if row.share is None else f"{row.share:.2f}",
        "-" if row.cached_share is None else f"{row.cached_share:.0%}",
    )


def _cells(row: TargetRow) -> tuple[str, ...]:
    health = row.health
    if health is None:
        return (row.target, *("-",) * (len(HEAD) - 1))
    return (
        row.target,
        health.state.replace("_", " "),
        str(health.calls),
        f"{health.bad_share:.0%}" if health.calls else "-",
        str(health.in_flight),
        "-" if health.concurrency is None else f"{health.concurrency:.0f}",
        _time(health.first_token_s),
        _time(health.reply_s),
        "-" if health.prompt_tokens_a_second is None else f"{health.prompt_tokens_a_second:.0f}",
    )


def _time(length_s: float | None) -> str:
    return "-" if length_s is None else seconds(length_s)


def _why(health: Standing) -> str:
    out, asked = health.out_of
    where = f", in {out} of {asked} processes" if asked > 1 else ""
    last = f" (last: {health.last_failure})" if health.last_failure else ""
    return f"{health.target}: {health.why}{where}{last}{_trial(health.retry_s)}"


def _trial(retry_s: float | None) -> str:
    if retry_s is None:
        return ""
    return f"; next trial in {retry_s:.1f} s" if retry_s else "; the next call that fits is its trial"
