"""What the demo found out, as `--json` prints it: both columns, the check of the ledger, spend, and the events.

Money is nano-dollars. A column's dollars are the providers' own invoices, sorted by why they came about; what the gate
believes stands only in `check`, `agents` and `trees`.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from msgspec import Struct

from proxy.demo.check import Check
from proxy.demo.figures import Figures, Seen, by_phase, quantile
from proxy.demo.runaway import RUN, Rampage, rampage
from proxy.demo.vendor import Invoice


class Dollars(Struct, frozen=True):
    """By cause. An answer that was cut or abandoned counts there only, whichever attempt it was."""

    first_attempts: int
    retries: int
    hedges: int  # second copies of late calls, whichever of the two was heard
    cut_or_abandoned: int
    runaway: int = 0  # whatever the agent that ran away has asked for, whichever attempt it was

    @property
    def total(self) -> int:
        return self.first_attempts + self.retries + self.hedges + self.cut_or_abandoned + self.runaway


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
    upstream_calls: int  # all attempts, refused ones too
    refusals: int  # of the providers, over all attempts
    silences: int  # attempts that got a head and then nothing for long
    outage_success_share: float | None  # of the calls while a provider was down
    runaway: Rampage  # in none of the counts of runs and calls above
    phases: list[Figures]


class Known(Struct, frozen=True):
    """Calls that were answered without an upstream, because their answer was known or was just being made."""

    hits: int
    joined: int
    saved_usd_nanos: int


class Hedges(Struct, frozen=True):
    """Second copies of late calls that the gate has sent."""

    sent: int
    won: int  # theirs was the first content


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
    hedges: Hedges
    known: Known
    budget_usd_nanos: int  # of the agent that ran away
    overspend_usd_nanos: int  # beyond it
    check: Check
    agents: list[AgentSpend]
    trees: list[TreeSpend]
    events: list[Event]

    @property
    def exact(self) -> bool:
        return self.check.exact and self.overspend_usd_nanos == 0


def column(runs: int, seen: Seen, same: Set[str]) -> Column:
    """`same`: the runs that both columns completed."""
    tally, invoices = seen.tally, seen.invoices
    input_tokens = sum(invoice.bill.prompt_tokens for invoice in invoices)
    cached_tokens = sum(invoice.bill.cached_tokens for invoice in invoices)
    phases = by_phase(seen)
    dollars, endings = by_cause(invoices), list(tally.endings.values())
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
        upstream_calls=sum(len(vendor.asked_at) for vendor in seen.vendors),
        refusals=sum(vendor.refused for vendor in seen.vendors),
        silences=sum(vendor.silent for vendor in seen.vendors),
        outage_success_share=_success(phases),
        runaway=rampage(seen.runaway, dollars.runaway, seen.began_at),
        phases=phases,
    )


def by_cause(invoices: Iterable[Invoice]) -> Dollars:
    first = retries = hedges = broken = runaway = 0
    for invoice in invoices:
        if invoice.run == RUN:
            runaway += invoice.usd_nanos
        elif invoice.broken:
            broken += invoice.usd_nanos
        elif invoice.cause == "hedge":
            hedges += invoice.usd_nanos
        elif invoice.cause == "retry":
            retries += invoice.usd_nanos
        else:
            first += invoice.usd_nanos
    return Dollars(first, retries, hedges, broken, runaway)


def _success(phases: Iterable[Figures]) -> float | None:
    down = next((phase for phase in phases if phase.phase == "down"), None)
    return 1 - down.calls_failed / down.calls if down is not None and down.calls else None
