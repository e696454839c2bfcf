"""A provider's bill against the ledger: what agrees, what was estimated, what only one of the two knows.

Rows that carry the provider's request id are matched one by one. What is left is matched in groups of the same
provider, model and stretch of time (the hour or the day, as fine as the bill is), because many exports know no single
requests. A difference is explained when the ledger had marked the row as estimated, when it is no more than rounding,
or when a crash had swallowed the end of a call; what is not explained should stay below a ten-thousandth of the bill.
Money is integer nano-dollars, instants are seconds since 1970.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

HOUR_S: Final = 3_600
DAY_S: Final = 86_400
ROUNDING_USD_NANOS: Final = 5_000  # a line: bills are given to the hundred-thousandth of a dollar at best
TARGET_SHARE: Final = 0.0001

LOST_S: Final = 3_600  # a line of the bill may be so much later than the hold of its call

Kind = Literal["matched", "estimated", "different", "ledger_only", "bill_only", "unresolved"]


class BillRow(Struct, frozen=True):
    """One line of a provider's export."""

    provider: str
    model: str
    at_wall: float
    usd_nanos: int
    request_id: str | None = None
    span_s: int = DAY_S  # how long a stretch the line speaks of, when it names no request


class LedgerRow(Struct, frozen=True):
    """One attempt, as the ledger has it."""

    id: str  # of the call, and the attempt's number
    provider: str
    model: str
    at_wall: float
    usd_nanos: int
    upstream_request_id: str | None = None
    estimated: bool = False


class Finding(Struct, frozen=True):
    """One match, or the lack of one. `ids` are the ledger's."""

    kind: Kind
    provider: str
    model: str
    ledger_usd_nanos: int
    bill_usd_nanos: int
    ids: tuple[str, ...] = ()
    request_id: str | None = None
    from_wall: float | None = None

    @property
    def difference_usd_nanos(self) -> int:
        """What the ledger has to be adjusted by."""
        return self.bill_usd_nanos - self.ledger_usd_nanos


class Tally(Struct, frozen=True):
    rows: int = 0
    ledger_usd_nanos: int = 0
    bill_usd_nanos: int = 0


class Reconciliation(Struct, frozen=True):
    findings: tuple[Finding, ...]

    def tally(self, kind: Kind) -> Tally:
        found = [finding for finding in self.findings if finding.kind == kind]
        ledger = sum(finding.ledger_usd_nanos for finding in found)
        return Tally(len(found), ledger, sum(finding.bill_usd_nanos for finding in found))

    @property
    def bill_usd_nanos(self) -> int:
        return sum(finding.bill_usd_nanos for finding in self.findings)

    @property
    def unexplained_usd_nanos(self) -> int:
        """Differences in either direction; they do not make up for each other."""
        unexplained = ("different", "ledger_only", "bill_only")
        return sum(abs(found.difference_usd_nanos) for found in self.findings if found.kind in unexplained)

    @property
    def unexplained_share(self) -> float:
        whole = max(self.bill_usd_nanos, sum(finding.ledger_usd_nanos for finding in self.findings))
        return self.unexplained_usd_nanos / whole if whole else 0.0


def reconcile(ledger: Iterable[LedgerRow], bill: Iterable[BillRow]) -> Reconciliation:
    """Every row of either side is in exactly one finding."""
    ours, theirs = list(ledger), list(bill)
    findings = _one_by_one(ours, theirs)
    return Reconciliation((*findings, *_in_groups(ours, theirs)))


def with_lost(done: Reconciliation, holds: Iterable[LedgerRow]) -> Reconciliation:
    """Gives lines that only the bill has to calls whose end is unknown, where time and size allow: the hold was taken
    before, not long before, and covers it. A hold is given one line at most; which one of several is a guess."""
    findings = list(done.findings)
    for hold in sorted(holds, key=lambda row: row.at_wall):
        fits = (place for place, found in enumerate(findings) if _may_be(found, hold))
        place = min(fits, key=lambda place: findings[place].from_wall or 0.0, default=None)
        if place is not None:
            findings[place] = replace(findings[place], kind="unresolved", ids=(hold.id,))
    return Reconciliation(tuple(findings))


def _may_be(found: Finding, hold: LedgerRow) -> bool:
    if found.kind != "bill_only" or found.from_wall is None or found.request_id is None:
        return False
    return 0 <= found.from_wall - hold.at_wall <= LOST_S and found.bill_usd_nanos <= hold.usd_nanos


def by_bill(found: Finding, ledger: Mapping[str, int]) -> list[tuple[str, int]]:
    """What each row of a match cost by the bill, where that is one figure for all: in proportion to the ledger's own
    amounts, to the nano-dollar."""
    weights = [max(0, ledger[id]) for id in found.ids]
    if not sum(weights):
        weights = [1] * len(found.ids)
    whole, given, weight = sum(weights), 0, 0
    shares = []
    for id, each in zip(found.ids, weights, strict=True):
        weight += each
        until = found.bill_usd_nanos * weight // whole
        shares.append((id, until - given))
        given = until
    return shares


def _one_by_one(ours: list[LedgerRow], theirs: list[BillRow]) -> list[Finding]:
    """By request id; what was matched is taken out of both lists."""
    by_id: dict[tuple[str, str], list[LedgerRow]] = defaultdict(list)
    for row in ours:
        if row.upstream_request_id is not None:
            by_id[row.provider, row.upstream_request_id].append(row)
    lines: dict[tuple[str, str], list[BillRow]] = defaultdict(list)
    for line in theirs:
        if line.request_id is not None and (line.provider, line.request_id) in by_id:
            lines[line.provider, line.request_id].append(line)
    findings = [_finding(by_id[key], told, request_id=key[1]) for key, told in lines.items()]
    ours[:] = [row for row in ours if (row.provider, row.upstream_request_id) not in lines]
    theirs[:] = [line for line in theirs if (line.provider, line.request_id) not in lines]
    return findings


def _in_groups(ours: list[LedgerRow], theirs: list[BillRow]) -> list[Finding]:
    """By provider, model and stretch. A line that names a request the ledger does not know is the bill's alone."""
    named = [line for line in theirs if line.request_id is not None]
    findings = [_finding([], [line], request_id=line.request_id, from_wall=line.at_wall) for line in named]
    lines: dict[tuple[str, str, int, int], list[BillRow]] = defaultdict(list)
    for line in theirs:
        if line.request_id is None:
            lines[line.provider, line.model, line.span_s, int(line.at_wall // line.span_s)].append(line)
    spans = sorted({key[2] for key in lines})  # the finest first: an hour belongs to its hour before it is its day's
    left = ours
    for span_s in spans:
        groups: dict[tuple[str, str, int, int], list[LedgerRow]] = defaultdict(list)
        for row in left:
            groups[row.provider, row.model, span_s, int(row.at_wall // span_s)].append(row)
        told = {key: found for key, found in lines.items() if key[2] == span_s}
        findings += [_finding(groups.get(key, []), found, from_wall=key[2] * key[3]) for key, found in told.items()]
        left = [row for key, rows in groups.items() if key not in told for row in rows]
    return [*findings, *[_finding([row], [], from_wall=row.at_wall) for row in left]]


def _finding(
    ours: list[LedgerRow], theirs: list[BillRow], *, request_id: str | None = None, from_wall: float | None = None
) -> Finding:
    some: LedgerRow | BillRow = ours[0] if ours else theirs[0]
    ledger, bill = sum(row.usd_nanos for row in ours), sum(line.usd_nanos for line in theirs)
    return Finding(
        kind=_kind(ours, theirs, ledger=ledger, bill=bill),
        provider=some.provider,
        model=some.model,
        ledger_usd_nanos=ledger,
        bill_usd_nanos=bill,
        ids=tuple(row.id for row in ours),
        request_id=request_id,
        from_wall=from_wall,
    )


def _kind(ours: list[LedgerRow], theirs: list[BillRow], *, ledger: int, bill: int) -> Kind:
    if not theirs:
        return "ledger_only"
    if not ours:
        return "bill_only"
    if abs(bill - ledger) <= ROUNDING_USD_NANOS * len(theirs):
        return "matched"
    guessed = [row.usd_nanos for row in ours if row.estimated]
    # One guess among many exact rows explains a difference of its own size, not of theirs.
    explains = guessed and (len(ours) == 1 or abs(bill - ledger) <= sum(guessed))
    return "estimated" if explains else "different"
