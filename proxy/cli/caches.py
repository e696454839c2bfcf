"""`headgate caches`: which known answers are kept and what they have saved; `headgate caches purge` forgets some.

It asks the admin listener of a running gate, which asks every process.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from proxy.cli.asking import Refusal, add_connection, refuse, report
from proxy.cli.forgetting import chosen
from proxy.cli.options import Subparsers
from proxy.cli.table import Page, dollars
from proxy.state.cache_report import CacheReport, Purged, Savings

NAMES = ("agent", "model", "key")
TABLES = {"reply": "exact answers", "replay": "answers for replays"}
HEAD = ("cache", "hits", "stale", "misses", "passed by", "saved", "tokens")

EXAMPLES = """\
examples:
  headgate caches                        what is kept, and what each cache has saved since the start
  headgate caches purge --agent planner  forgets the answers to one agent
  headgate caches purge --key KEY        ... the one that a reply's x-headgate-cache-key names
  headgate caches purge --all

What several options say must all be true of an answer. Exit codes: 0 done, 1 not done, 2 wrong usage.
"""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "caches",
        help="known answers: how many, what they saved; purge",
        description="Shows which known answers are kept and what they have saved, and forgets some.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("action", nargs="?", choices=("show", "purge"), default="show", help="default: show")
    parser.add_argument("--agent", metavar="NAME", help="purge: answers to this agent")
    parser.add_argument("--model", metavar="NAME", help="purge: answers of this model, as agents ask for it")
    parser.add_argument("--key", metavar="KEY", help="purge: this answer")
    parser.add_argument("--all", action="store_true", help="purge: all of them")
    add_connection(parser)


def caches(args: argparse.Namespace) -> int:
    try:
        order = _order(args)
    except Refusal as refused:
        return refuse(refused)
    if order is None:
        return report(args, "/caches", CacheReport, lines=_shown)
    return report(args, "/caches/purge", Purged, lines=_purged, order=order)


def _order(args: argparse.Namespace) -> dict[str, object] | None:
    return chosen(args, NAMES, action="purge", which="which answers")


def _shown(answer: CacheReport, page: Page) -> Iterator[str]:
    yield from page.table(HEAD, [_row(name, savings) for name, savings in answer.savings.items()])
    yield f"in memory      {_answers(answer.entries)}, {_size(answer.bytes)}; {answer.evicted} had to make room"
    for table, there in answer.on_disk.items():
        yield f"on the disk    {_answers(there.entries)}, {_size(there.bytes)}: {TABLES.get(table, table)}"
    semantic = answer.savings.get("semantic")
    if semantic is not None and semantic.false_hit_ratio is not None:
        compared = ", ".join(f"{count} {verdict}" for verdict, count in semantic.compared.items())
        yield f"semantic       at most {semantic.false_hit_ratio:.1%} of its hits wrong, by comparison ({compared})"
    if answer.disk_failures:
        yield f"the disk failed {answer.disk_failures} times: the log says why"


def _row(name: str, savings: Savings) -> tuple[str, ...]:
    counts = [str(savings.looked_up.get(result) or "") for result in ("hit", "stale", "miss", "bypass")]
    return (name, *counts, dollars(savings.saved_usd_nanos), str(savings.saved_tokens))


def _purged(answer: Purged, page: Page) -> Iterator[str]:
    yield f"gone: {_answers(answer.in_memory)} in memory, {_answers(answer.on_disk)} on the disk"


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count} answers"


def _size(count: int) -> str:
    return f"{count / 1024 / 1024:.1f} MiB"
