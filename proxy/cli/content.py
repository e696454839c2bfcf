"""`headgate content`: how much of the words of calls is kept; `headgate content purge` forgets some or all of it.

It asks the admin listener of a running gate. The words of one call are shown by `headgate explain ID --content`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from proxy.cli.asking import Refusal, add_connection, refuse, report
from proxy.cli.forgetting import chosen
from proxy.cli.options import Subparsers
from proxy.cli.table import Page, counted
from proxy.state.content_report import ContentEntry, ContentPurged, ContentReport, Side

KIB, MIB = 1024, 1024 * 1024

EXAMPLES = """\
examples:
  headgate content                       how much is kept, and since when
  headgate content purge --before 7d     forgets the days that were over a week ago
  headgate content purge --all

Exit codes: 0 done, 1 not done, 2 wrong usage.
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "content",
        help="the words of calls that are kept: how much; purge",
        description="Shows how much of the words of calls is kept, and forgets some of it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("action", nargs="?", choices=("show", "purge"), default="show", help="default: show")
    parser.add_argument("--before", metavar="WHEN", help="purge: days that were over by then: 7d or 2026-01-31")
    parser.add_argument("--all", action="store_true", help="purge: all of it")
    add_connection(parser)


def content(args: argparse.Namespace) -> int:
    try:
        order = chosen(args, ("before",), action="purge", which="which days")
    except Refusal as refused:
        return refuse(refused)
    if order is None:
        return report(args, "/content", ContentReport, lines=_shown)
    return report(args, "/content/purge", ContentPurged, lines=_purged, order=order)


def _shown(answer: ContentReport, page: Page) -> Iterator[str]:
    if answer.oldest is None:
        yield "no words are kept"
    else:
        yield f"{_size(answer.bytes)} in {counted(answer.segments, 'file')}, the oldest of {answer.oldest}"


def _purged(answer: ContentPurged, page: Page) -> Iterator[str]:
    yield f"gone: {_size(answer.bytes)} in {counted(answer.segments, 'file')}"


def _size(count: int) -> str:
    """Small ones in KiB, or they would all be 0.0 MiB."""
    return f"{count / MIB:.1f} MiB" if count >= MIB else f"{count / KIB:.1f} KiB"


# --- of one call: see `explain` --------------------------------------------------------------------------------------


def words(entry: ContentEntry | None) -> Iterator[str]:
    if entry is None:
        yield "content: none is kept"
        return
    yield f"content: kept {entry.policy}"
    for name, side in (("request", entry.request), ("reply", entry.reply)):
        if side is None:
            yield f"{name}: left out, as the caller wished"
        else:
            yield from _side(name, side)


def _side(name: str, side: Side) -> Iterator[str]:
    cut = ", not to its end" if side.complete is False else ""
    yield f"{name}: {side.bytes} bytes{cut}" + (f", digest {side.digest}" if side.digest else "")
    for header, value in side.headers.items():
        yield f"  {header}: {value}"
    if side.why_not is not None:
        yield f"  no text: {side.why_not}"
    if side.text is not None:
        yield f"  {side.text}"
    if side.tail is not None:
        yield "  [what lies between is left out]"
        yield f"  {side.tail}"
