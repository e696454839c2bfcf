"""`headgate ledger reconcile`: a provider's bill against the ledger, what is unexplained, on demand the corrections.

The bill is read by `policies.bill`, matched by `policies.reconcile`; this asks for the ledger's side, prints, and sends
what is to be booked. Exit codes: 0 explained, 1 more than the target is not, 2 the bill or what was typed is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct, json
from msgspec.structs import replace

from policies import reconcile as matching
from policies.bill import Bill, plain_model, read
from policies.reconcile import HOUR_S, TARGET_SHARE, BillRow, Finding, Kind, LedgerRow, Reconciliation
from policies.refusal import amount
from policies.windows import iso
from proxy.cli.asking import Refusal, answer, refuse, with_query
from proxy.cli.ledger_export import attempts
from proxy.cli.progress import Progress
from proxy.cli.table import Page
from proxy.clock import SystemClock
from proxy.state.ledger_report import AttemptPage, CorrectedAll, UnresolvedPage

KINDS: Final[tuple[tuple[Kind, str], ...]] = (
    ("matched", "on both sides, the same but for rounding"),
    ("estimated", "on both sides, and the ledger's figure was marked as an estimate"),
    ("different", "on both sides, and different"),
    ("ledger_only", "in the ledger alone"),
    ("bill_only", "on the bill alone"),
    ("unresolved", "on the bill, and a crash had swallowed the end of the call"),
)
CORRECTED: Final = frozenset({"estimated", "different"})
WORST: Final = 10
BATCH: Final = 500
NAME_MAX: Final = 256


class Window(Struct, frozen=True):
    """In seconds since 1970; its end is not in it."""

    since: float
    until: float

    def holds(self, at: float) -> bool:
        return self.since <= at < self.until


class Sides(Struct, frozen=True):
    ledger: list[LedgerRow]
    bill: list[BillRow]
    holds: list[LedgerRow]  # of calls whose end is not known
    window: Window
    outside: int  # lines of the bill that lie outside it


class Sum(Struct, frozen=True):
    kind: Kind
    rows: int
    ledger_usd: str | int
    bill_usd: str | int
    difference_usd: str | int


class Report(Struct, frozen=True):
    since: str
    until: str
    sums: list[Sum]
    unexplained_usd: str | int
    unexplained_share: float
    target_share: float
    explained: bool
    worst: list[Finding]
    lines_outside: int
    lost: int  # calls whose end is not known, and which the bill does not show
    corrections: int = 0
    corrected_usd: str | int = "0.00"


def reconcile(args: argparse.Namespace) -> int:
    try:
        bill = _bill(args.bill)
        sides = _sides(args, bill)
        done = matching.with_lost(matching.reconcile(sides.ledger, sides.bill), sides.holds)
        done = Reconciliation(tuple(found for found in done.findings if _counts(found, sides.window)))
        found = {id for each in done.findings for id in each.ids}
        lost = [hold for hold in sides.holds if hold.id not in found]
        report = _report(done, sides, lost=len(lost))
        if args.adjust:
            report = _adjusted(args, report, _corrections(done, sides, lost if args.release else []))
    except Refusal as refused:
        return refuse(refused)
    if args.json:
        sys.stdout.write(json.encode(report).decode() + "\n")
    else:
        page = Page(sys.stdout)
        for line in _lines(report, page):
            page.write(line)
    return 0 if report.explained else 1


# --- the two sides ---------------------------------------------------------------------------------------------------


def _bill(path: Path) -> Bill:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            bill = read(file)
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}", 2) from error
    except UnicodeDecodeError as error:
        raise Refusal(f"{path} cannot be read: {error}", 2) from error
    if bill.problems:
        raise Refusal("\n".join(f"{path}: {problem}" for problem in bill.problems), 2)
    return bill


def _sides(args: argparse.Namespace, bill: Bill) -> Sides:
    spoken = _spoken_of(bill.rows)
    since = args.since or iso(max(0.0, spoken.since - HOUR_S))  # the two sides' clocks need not agree to the minute
    until = args.until or iso(spoken.until + HOUR_S)
    progress = Progress("attempts", sys.stderr, SystemClock())
    pages: list[AttemptPage] = []
    for page in attempts(args, since=since, until=until, provider=args.provider):
        pages.append(page)
        progress.add(len(page.rows))
    progress.end()
    given = pages[0]
    window = Window(
        spoken.since if args.since is None else (given.since_ms or 0) / 1_000,
        spoken.until if args.until is None else (given.until_ms or 0) / 1_000,
    )
    ledger = list(_ledger_rows(pages, models=bill.names_models))
    whose = args.provider or (None if bill.names_providers else _only_provider(ledger))
    rows = [row if whose is None else replace(row, provider=whose) for row in bill.rows]
    inside = [row for row in rows if window.holds(row.at_wall)]
    holds = answer(args, with_query("/ledger/unresolved", {"since": since, "until": until}), UnresolvedPage)
    lost = [LedgerRow(each.request_id, "", "", each.at_ms / 1_000, each.usd_nanos) for each in holds.rows]
    return Sides(ledger, inside, lost, window, len(rows) - len(inside))


def _spoken_of(rows: Iterable[BillRow]) -> Window:
    """What the bill is about: its lines from the first to the last, with the whole stretch of those that have one."""
    begins, ends = [], []
    for row in rows:
        begins.append(row.at_wall if row.request_id else row.at_wall // row.span_s * row.span_s)
        ends.append(row.at_wall + 1 if row.request_id else begins[-1] + row.span_s)
    return Window(min(begins), max(ends))


def _ledger_rows(pages: Iterable[AttemptPage], *, models: bool) -> Iterator[LedgerRow]:
    for page in pages:
        for row in page.rows:
            if row.usage_source is not None or row.upstream_request_id is not None:
                yield LedgerRow(
                    id=f"{row.request_id}/{row.number}",
                    provider=row.provider,
                    model=plain_model(row.upstream_model) if models else "",
                    at_wall=row.at_ms / 1_000 + row.started_s,
                    usd_nanos=(row.cost_usd_nanos or 0) + row.adjusted_usd_nanos,
                    upstream_request_id=row.upstream_request_id,
                    estimated=row.cost_usd_nanos is None or row.usage_source not in (None, "reported"),
                )


def _only_provider(ledger: Iterable[LedgerRow]) -> str:
    names = sorted({row.provider for row in ledger if row.usd_nanos})
    if len(names) > 1:
        raise Refusal(f"the bill does not say whose it is: --provider, one of {', '.join(names)}", 2)
    return names[0] if names else ""


def _counts(found: Finding, window: Window) -> bool:
    """Not: attempts of the margin around the bill, and attempts that cost nothing by either word."""
    if found.kind != "ledger_only":
        return True
    return found.ledger_usd_nanos != 0 and found.from_wall is not None and window.holds(found.from_wall)


# --- what comes of it ------------------------------------------------------------------------------------------------


def _report(done: Reconciliation, sides: Sides, *, lost: int) -> Report:
    differing = [found for found in done.findings if found.difference_usd_nanos]
    worst = sorted(differing, key=lambda found: -abs(found.difference_usd_nanos))[:WORST]
    return Report(
        since=iso(sides.window.since),
        until=iso(sides.window.until),
        sums=list(_sums(done)),
        unexplained_usd=amount("usd", done.unexplained_usd_nanos),
        unexplained_share=done.unexplained_share,
        target_share=TARGET_SHARE,
        explained=done.unexplained_share <= TARGET_SHARE,
        worst=[replace(found, ids=found.ids[:WORST]) for found in worst],
        lines_outside=sides.outside,
        lost=lost,
    )


def _sums(done: Reconciliation) -> Iterator[Sum]:
    for kind, _ in KINDS:
        tally = done.tally(kind)
        ledger, bill = tally.ledger_usd_nanos, tally.bill_usd_nanos
        yield Sum(kind, tally.rows, amount("usd", ledger), amount("usd", bill), amount("usd", bill - ledger))


def _corrections(
    done: Reconciliation, sides: Sides, released: Iterable[LedgerRow]
) -> Iterator[dict[str, str | int | None]]:
    """What was found on both sides, and what a crash had left open."""
    own = {row.id: row.usd_nanos for row in sides.ledger}
    for found in done.findings:
        if found.kind == "unresolved":
            yield _correction(found, found.ids[0], None, found.bill_usd_nanos)
        elif found.kind in CORRECTED:
            for id, usd_nanos in matching.by_bill(found, own):
                request, _, number = id.rpartition("/")
                if usd_nanos >= 0:
                    yield _correction(found, request, int(number), usd_nanos)
    for hold in released:
        yield {"id": f"released-{hold.id}"[:NAME_MAX], "request_id": hold.id, "attempt": None, "usd_nanos": 0}


def _correction(found: Finding, request: str, number: int | None, usd_nanos: int) -> dict[str, str | int | None]:
    line = (found.provider, found.model, found.request_id, found.from_wall, found.bill_usd_nanos, request, number)
    id = hashlib.sha256(json.encode(line)).hexdigest()[:32]
    return {"id": id, "request_id": request, "attempt": number, "usd_nanos": usd_nanos}


def _adjusted(args: argparse.Namespace, report: Report, corrections: Iterable[dict[str, str | int | None]]) -> Report:
    wanted, booked, nanos = list(corrections), 0, 0
    for first in range(0, len(wanted), BATCH):
        order = {"bill": args.bill.name[:NAME_MAX], "corrections": wanted[first : first + BATCH]}
        done = answer(args, "/ledger/adjust", CorrectedAll, order)
        booked += sum(row.result == "booked" for row in done.rows)
        nanos += done.difference_usd_nanos
    return replace(report, corrections=booked, corrected_usd=amount("usd", nanos))


def _lines(report: Report, page: Page) -> Iterator[str]:
    yield f"from {report.since} to {report.until}"
    words = dict(KINDS)
    rows = []
    for each in report.sums:
        if each.rows:
            figures = map(_dollars, (each.ledger_usd, each.bill_usd, each.difference_usd))
            rows.append((each.kind, str(each.rows), *figures, words[each.kind]))
    yield from page.table(("", "rows", "ledger", "bill", "difference", ""), rows)
    share, target = report.unexplained_share, report.target_share
    yield f"unexplained: {_dollars(report.unexplained_usd)}, {share:.4%} (target: at most {target:.2%})"
    if report.lines_outside:
        yield f"{report.lines_outside} lines of the bill lie outside that time and were left out"
    if report.lost:
        yield f"{report.lost} calls were swallowed by a crash and are not on the bill; what was held counts as spent"
    if report.worst:
        yield "the largest differences:"
        yield from page.table(("", "model", "ledger", "bill", "difference", "request or time"), _worst(report.worst))
    if report.corrections:
        yield f"{report.corrections} corrections booked, together {_dollars(report.corrected_usd)}"


def _worst(findings: Iterable[Finding]) -> list[tuple[str, ...]]:
    rows = []
    for found in findings:
        figures = (found.ledger_usd_nanos, found.bill_usd_nanos, found.difference_usd_nanos)
        at = "-" if found.from_wall is None else iso(found.from_wall)
        named = found.request_id or (found.ids[0] if len(found.ids) == 1 else at)
        model = f"{found.provider}/{found.model}" if found.model else found.provider
        rows.append((found.kind, model, *(_dollars(amount("usd", figure)) for figure in figures), named))
    return rows


def _dollars(exact: str | int) -> str:
    text = str(exact)
    return f"-${text[1:]}" if text.startswith("-") else f"${text}"
