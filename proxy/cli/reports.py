"""`headgate spend`, `runs` and `explain`: questions to the admin listener of a running gate, answered for people.

Only the gate opens its ledger, so these commands ask it over HTTP, straight to the address given: no proxy of the
environment, no redirect followed with the token. `--json` prints the answer as it came; otherwise columns, in a pipe
nothing but ASCII. Names come from clients, so no control character of theirs reaches the terminal. Exit codes: 0 fine,
1 no answer or nothing of that id, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from proxy.cli.table import Page, dollars, seconds
from proxy.state.report import AttemptDetail, RequestDetail, Runs, RunTree, Spend

ADMIN_URL = "http://127.0.0.1:8081"
TIMEOUT_S = 60.0
DIMENSIONS = ("agent", "model", "run", "key", "team", "provider", "target")


class Refusal(Exception):
    """No answer; the message is for the person, the code for the shell."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _Error(msgspec.Struct):
    message: str


class _ErrorReply(msgspec.Struct):
    error: _Error


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    spending = subparsers.add_parser("spend", help="what was spent, by agent, model, run, key, team or target")
    spending.add_argument("--by", choices=DIMENSIONS, default="agent", help="one row for each (default: agent)")
    spending.add_argument("--since", metavar="WHEN", help="30m, 6h, 1d or a date such as 2026-01-31 (default: always)")
    spending.add_argument("--until", metavar="WHEN", help="as --since (default: now)")
    listing = subparsers.add_parser("runs", help="the latest runs, or one run as a tree with its critical path")
    listing.add_argument("run_id", metavar="RUN", nargs="?", help="one run: its calls, its children, its critical path")
    listing.add_argument("--agent", help="only this agent's calls")
    listing.add_argument("--since", metavar="WHEN", help="runs with a call since then")
    listing.add_argument("--limit", type=int, default=20, help="most rows to show (default: 20)")
    explaining = subparsers.add_parser("explain", help="one request: every attempt, decision and line of its price")
    explaining.add_argument("request_id", metavar="ID", help="the x-request-id or x-headgate-request-id of the reply")
    for parser in (spending, listing, explaining):
        parser.add_argument("--admin", metavar="URL", default=ADMIN_URL, help=f"the admin listener ({ADMIN_URL})")
        parser.add_argument("--token-file", metavar="FILE", help="its token, else from HEADGATE_ADMIN_TOKEN")
        parser.add_argument("--json", action="store_true", help="print the answer as it came")


def spend(args: argparse.Namespace) -> int:
    parameters = {"by": args.by, "since": args.since, "until": args.until}
    return _report(args, "/spend", parameters, shape=Spend)


def runs(args: argparse.Namespace) -> int:
    if args.run_id is not None:
        return _report(args, f"/runs/{quote(args.run_id, safe='')}", {}, shape=RunTree)
    parameters = {"agent": args.agent, "since": args.since, "limit": str(args.limit)}
    return _report(args, "/runs", parameters, shape=Runs)


def explain(args: argparse.Namespace) -> int:
    return _report(args, f"/requests/{quote(args.request_id, safe='')}", {}, shape=RequestDetail)


Answer = Spend | Runs | RunTree | RequestDetail


def _report(args: argparse.Namespace, path: str, parameters: dict[str, str | None], *, shape: type[Answer]) -> int:
    try:
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        body = _ask(args.admin, f"{path}?{query}" if query else path, _token(args.token_file))
        if args.json:
            sys.stdout.write(body.decode() + "\n")
            return 0
        answer = msgspec.json.decode(body, type=shape)
    except (Refusal, msgspec.DecodeError) as refused:
        sys.stderr.write(f"headgate: {refused}\n")
        return refused.exit_code if isinstance(refused, Refusal) else 1
    page = Page(sys.stdout)
    for line in _lines(answer, page):
        page.write(line)
    return 0


def _token(file: str | None) -> str:
    if file is None:
        return os.environ.get("HEADGATE_ADMIN_TOKEN", "")
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise Refusal(f"the token file cannot be read: {error}", 2) from error


def _ask(admin: str, target: str, token: str) -> bytes:
    try:
        url = urlsplit(admin)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise Refusal(f"--admin {admin}: {error}", 2) from error
    if url.scheme not in ("http", "https") or not host:
        raise Refusal(f"--admin {admin} is not a URL like {ADMIN_URL}", 2)
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", url.path.rstrip("/") + target, headers=_headers(token))
        reply = connection.getresponse()
        status, body = reply.status, reply.read()
    except ConnectionRefusedError as error:
        raise Refusal(f"nothing listens at {admin}: start it with `headgate up`") from error
    except (OSError, HTTPException, UnicodeError) as error:
        raise Refusal(f"no answer from {admin}: {error}") from error
    finally:
        connection.close()
    if status != 200:
        raise _refusal(status, body, admin)
    return body


def _headers(token: str) -> dict[str, str]:
    return {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})


def _refusal(status: int, body: bytes, admin: str) -> Refusal:
    if status == 401:
        return Refusal(f"{admin} wants its token: set HEADGATE_ADMIN_TOKEN or give --token-file")
    try:
        message = msgspec.json.decode(body, type=_ErrorReply).error.message
    except msgspec.DecodeError:
        return Refusal(f"{admin} is not the admin listener of a gate: it answered {status}")
    return Refusal(message, 2 if status == 400 else 1)


def _lines(answer: Answer, page: Page) -> Iterator[str]:
    if isinstance(answer, Spend):
        return _spend_lines(answer, page)
    if isinstance(answer, Runs):
        return _runs_lines(answer, page)
    if isinstance(answer, RunTree):
        return _tree_lines(answer, page)
    return _explain_lines(answer)


def _spend_lines(answer: Spend, page: Page) -> Iterator[str]:
    rows = [
        (
            row.key or "-",
            str(row.calls),
            str(row.attempts),
            str(row.tokens.input_total),
            str(row.tokens.output_total),
            dollars(row.cost_usd_nanos),
            str(row.unpriced_calls or ""),
            "" if not row.estimated_share else f"{row.estimated_share:.1%}",
        )
        for row in (*answer.rows, msgspec.structs.replace(answer.total, key="total"))
    ]
    head = (answer.by, "calls", "attempts", "input", "output", "cost", "unpriced", "estimated")
    yield from page.table(head, rows)
    if answer.truncated:
        yield f"only the dearest {len(answer.rows)} are shown; the total holds all"


def _runs_lines(answer: Runs, page: Page) -> Iterator[str]:
    rows = [
        (
            row.run,
            ",".join(row.agents),
            row.summary.last_at or "-",
            seconds(row.summary.wall_s),
            str(row.summary.calls),
            str(row.summary.errors or ""),
            str(row.summary.input_tokens + row.summary.output_tokens),
            dollars(row.summary.cost_usd_nanos),
        )
        for row in answer.rows
    ]
    if not rows:
        yield "no runs yet: a call belongs to one when its base URL says so, .../agents/NAME/runs/RUN/v1"
        return
    yield from page.table(("run", "agents", "last", "wall", "calls", "errors", "tokens", "cost"), rows)


def _tree_lines(answer: RunTree, page: Page) -> Iterator[str]:
    yield from _branch(answer, page, "", frozenset(answer.critical_path.request_ids))
    yield ""
    path = answer.critical_path
    yield f"cost           {dollars(answer.total_usd_nanos)}"
    yield f"wall time      {seconds(answer.wall_s)}"
    yield f"critical path  {seconds(path.seconds)} in {len(path.request_ids)} calls, one after the other"
    step = answer.longest_step
    if step is not None:
        yield f"longest step   {seconds(step.duration_s)}, {step.model}, request {step.request_id}"
    if answer.truncated:
        yield "the tree is larger than what is shown"


def _branch(tree: RunTree, page: Page, indent: str, critical: frozenset[str]) -> Iterator[str]:
    summary = tree.run.summary
    yield (
        f"{indent}run {tree.run.run} ({', '.join(tree.run.agents)}): {summary.calls} calls, "
        f"{dollars(tree.total_usd_nanos)}"
    )
    rows = [
        (
            "*" if call.request_id in critical else "",
            call.at,
            call.model,
            call.target or "-",
            call.error_code or str(call.status),
            seconds(call.duration_s),
            str(call.input_tokens),
            str(call.output_tokens),
            dollars(call.cost_usd_nanos),
            call.request_id,
        )
        for call in tree.calls
    ]
    head = ("*", "at", "model", "target", "end", "took", "input", "output", "cost", "request")
    for line in page.table(head, rows) if rows else ():
        yield f"{indent}  {line}"
    for child in tree.children:
        yield from _branch(child, page, indent + "    ", critical)


def _explain_lines(answer: RequestDetail) -> Iterator[str]:
    facts = answer.fields
    yield f"request {facts['request_id']} at {facts['at']}"
    yield f"agent {facts['agent']}, run {facts['run'] or '-'}, key {facts['key_id']}, model {facts['model']}"
    yield from answer.decision
    for attempt in answer.attempts:
        yield from _price_lines(attempt)
    cost = facts["cost_usd_nanos"]
    yield f"cost {dollars(cost if isinstance(cost, int) else None)}"


def _price_lines(attempt: AttemptDetail) -> Iterator[str]:
    source = attempt.fields["usage_source"]
    if source is None:
        return
    yield f"attempt {attempt.fields['number']}: usage {source}, price {attempt.fields['price_id'] or 'none'}"
    for line in attempt.price.lines if attempt.price else ():
        each = dollars(line.usd_picos_each * 1_000)
        yield f"  {line.count} {line.name} at {each} a million = {dollars(-(-line.usd_picos // 1_000))}"
