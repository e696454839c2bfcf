"""`headgate spend` and `explain`: questions to the admin listener of a running gate, answered for people."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from urllib.parse import quote

from msgspec import structs

from proxy.cli.asking import add_connection, report, with_query
from proxy.cli.content import words
from proxy.cli.table import Page, dollars, exact_dollars
from proxy.state.report import AttemptDetail, IdleGpu, RequestDetail, Spend

DIMENSIONS = ("agent", "model", "run", "key", "team", "provider", "target")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    spending = subparsers.add_parser("spend", help="what was spent, by agent, model, run, key, team or target")
    spending.add_argument("--by", choices=DIMENSIONS, default="agent", help="one row for each (default: agent)")
    spending.add_argument("--since", metavar="WHEN", help="30m, 6h, 1d or a date such as 2026-01-31 (default: always)")
    spending.add_argument("--until", metavar="WHEN", help="as --since (default: now)")
    explaining = subparsers.add_parser("explain", help="one request: every attempt, decision and line of its price")
    explaining.add_argument("request_id", metavar="ID", help="the x-request-id or x-headgate-request-id of the reply")
    explaining.add_argument("--content", action="store_true", help="its words too, where they are kept")
    for parser in (spending, explaining):
        add_connection(parser)


def spend(args: argparse.Namespace) -> int:
    parameters = {"by": args.by, "since": args.since, "until": args.until}
    return report(args, with_query("/spend", parameters), Spend, lines=_spend_lines)


def explain(args: argparse.Namespace) -> int:
    path = f"/requests/{quote(args.request_id, safe='')}"
    if args.content:
        return report(args, with_query(path, {"content": "on"}), RequestDetail, lines=_all_lines)
    return report(args, path, RequestDetail, lines=_explain_lines)


def _spend_lines(answer: Spend, page: Page) -> Iterator[str]:
    rows = [
        (
            row.key or "-",
            *((row.tenant or "",) if answer.by == "run" else ()),
            str(row.calls),
            str(row.attempts),
            str(row.tokens.input_total),
            str(row.tokens.input_cached or ""),
            str(row.tokens.input_written or ""),
            str(row.tokens.output_total),
            dollars(row.cost_usd_nanos),
            str(row.unpriced_calls or ""),
            "" if not row.estimated_share else f"{row.estimated_share:.1%}",
        )
        for row in (*answer.rows, structs.replace(answer.total, key="total"))
    ]
    names = ("run", "tenant") if answer.by == "run" else (answer.by,)
    head = ("calls", "attempts", "input", "cached", "written", "output", "cost", "unpriced", "estimated")
    yield from page.table((*names, *head), rows)
    if answer.truncated:
        yield f"only the dearest {len(answer.rows)} are shown; the total holds all"
    if answer.idle_gpus:
        yield from page.table(("idle GPUs", "hours", "busy", "price", "charged", "idle"), _idle_rows(answer.idle_gpus))


def _idle_rows(gpus: list[IdleGpu]) -> list[tuple[str, ...]]:
    return [
        (
            gpu.provider,
            f"{gpu.elapsed_s / 3_600:.2f}",
            f"{gpu.busy_s / gpu.elapsed_s:.1%}" if gpu.elapsed_s else "-",
            *(dollars(nanos) for nanos in (gpu.price_usd_nanos, gpu.charged_usd_nanos, gpu.idle_usd_nanos)),
        )
        for gpu in gpus
    ]


def _explain_lines(answer: RequestDetail, page: Page) -> Iterator[str]:
    facts = answer.fields
    yield f"request {facts['request_id']} at {facts['at']}"
    yield f"agent {facts['agent']}, run {facts['run'] or '-'}, key {facts['key_id']}, model {facts['model']}"
    yield from answer.decision
    for attempt in answer.attempts:
        yield from _price_lines(attempt)
    cost = facts["cost_usd_nanos"]
    yield f"cost {exact_dollars(cost * 1_000) if isinstance(cost, int) else 'unpriced'}"


def _all_lines(answer: RequestDetail, page: Page) -> Iterator[str]:
    yield from _explain_lines(answer, page)
    yield from words(answer.content)


def _price_lines(attempt: AttemptDetail) -> Iterator[str]:
    source = attempt.fields["usage_source"]
    if source is None:
        return
    yield f"attempt {attempt.fields['number']}: usage {source}, price {attempt.fields['price_id'] or 'none'}"
    for line in attempt.price.lines if attempt.price else ():
        each = dollars(line.usd_picos_each * 1_000)
        yield f"  {line.count} {line.name} at {each} a million = {exact_dollars(line.usd_picos)}"
