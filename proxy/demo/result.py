"""What the demo found out, as `--json` prints it: both columns, the check of the ledger, spend, and the events.

Money is nano-dollars. A column's dollars are the providers' own invoices, sorted by why they came about; what the gate
believes stands only in `check`, `agents` and `trees`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set

from msgspec import Struct, structs

from proxy.demo.fleet import Tally
from proxy.demo.vendor import Invoice, Vendor


class Dollars(Struct, frozen=True):
    """By cause. An answer that was cut or abandoned counts there only, whichever attempt it was."""

    first_attempts: int
    retries: int
    cut_or_abandoned: int

    @property
    def total(self) -> int:
        return self.first_attempts + self.retries + self.cut_or_abandoned


class Column(Struct, frozen=True):
    runs: int
    runs_completed: int
    runs_failed: int
    calls: int
    calls_failed: int
    first_token_p50_s: float | None
    first_token_p99_s: float | None
    usd_nanos: Dollars
    usd_nanos_total: int
    usd_nanos_same_runs: int  # of the runs that were completed in both columns
    input_tokens: int
    input_cached_share: float | None
    refusals: int  # 429 and 503 of the providers, over all attempts
    stalls: int  # attempts that got their first token late


class Check(Struct, frozen=True):
    """`estimated` attempts are those whose usage no provider reported: only they can make a difference."""

    ledger_usd_nanos: int
    bill_usd_nanos: int
    difference_usd_nanos: int
    estimated_attempts: int


class Purpose(Struct, frozen=True):
    """What an attempt was for, as the ledger knows it."""

    run: str
    retried: bool


class AgentSpend(Struct, frozen=True):
    agent: str
    runs: int
    calls: int
    errors: int
    usd_nanos: int


class TreeSpend(Struct, frozen=True):
    """A run with its sub-agents' runs."""

    run: str
    runs: int
    calls: int
    usd_nanos: int


class Event(Struct, frozen=True):
    at_s: float
    text: str


class Result(Struct, frozen=True):
    simulated: bool
    seed: int
    seconds: float
    took_s: float
    interrupted: bool
    direct: Column
    gate: Column
    check: Check
    agents: list[AgentSpend]
    trees: list[TreeSpend]
    events: list[Event]

    @property
    def exact(self) -> bool:
        return self.check.difference_usd_nanos == 0


def told(invoices: Iterable[Invoice], purposes: Mapping[tuple[str, str], Purpose]) -> list[Invoice]:
    """The invoices with what the ledger knows of them; an attempt that it does not know stays as it is."""
    found = ((invoice, purposes.get((invoice.provider, invoice.request_id))) for invoice in invoices)
    return [
        invoice if purpose is None else structs.replace(invoice, run=purpose.run, retried=purpose.retried)
        for invoice, purpose in found
    ]


def column(
    runs: int, tally: Tally, *, vendors: Iterable[Vendor], invoices: Sequence[Invoice], same: Set[str]
) -> Column:
    """`same`: the runs that both columns completed."""
    input_tokens = sum(invoice.bill.prompt_tokens for invoice in invoices)
    cached_tokens = sum(invoice.bill.cached_tokens for invoice in invoices)
    dollars = by_cause(invoices)
    endings, met = list(tally.endings.values()), tuple(vendors)
    return Column(
        runs=runs,
        runs_completed=endings.count("completed"),
        runs_failed=endings.count("failed"),
        calls=tally.calls,
        calls_failed=tally.failed,
        first_token_p50_s=quantile(0.50, tally.first_tokens_s),
        first_token_p99_s=quantile(0.99, tally.first_tokens_s),
        usd_nanos=dollars,
        usd_nanos_total=dollars.total,
        usd_nanos_same_runs=sum(invoice.usd_nanos for invoice in invoices if invoice.run in same),
        input_tokens=input_tokens,
        input_cached_share=cached_tokens / input_tokens if input_tokens else None,
        refusals=sum(vendor.refused for vendor in met),
        stalls=sum(vendor.stalled for vendor in met),
    )


def by_cause(invoices: Iterable[Invoice]) -> Dollars:
    first = retries = broken = 0
    for invoice in invoices:
        if invoice.broken:
            broken += invoice.usd_nanos
        elif invoice.retried:
            retries += invoice.usd_nanos
        else:
            first += invoice.usd_nanos
    return Dollars(first, retries, broken)


def quantile(share: float, values: Sequence[float]) -> float | None:
    """The nearest rank, to the millisecond: a value that was measured, not one between two."""
    if not values:
        return None
    return round(sorted(values)[math.ceil(share * len(values)) - 1], 3)
