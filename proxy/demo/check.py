"""The gate's ledger held against the providers' own invoices, answer by answer.

Where a provider reported what an answer used, the two have to be equal to the nano-dollar. A copy that was closed
before its provider had said a word is in the ledger as what it may have cost; those stand apart, and prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, structs

from proxy.demo.vendor import Cause, Invoice


class Purpose(Struct, frozen=True):
    """What the ledger knows of an attempt."""

    run: str
    cause: Cause
    reported_usd_nanos: int | None  # None: its provider did not come to report its usage


Purposes = Mapping[tuple[str, str], Purpose]  # by provider and request id


class Sides(Struct, frozen=True):
    ledger_usd_nanos: int
    bill_usd_nanos: int
    difference_usd_nanos: int


class Check(Struct, frozen=True):
    reported: Sides
    estimated: Sides
    estimated_attempts: int  # of the ledger
    estimated_invoices: int  # those that no report belongs to

    @property
    def exact(self) -> bool:
        return self.reported.difference_usd_nanos == 0 and self.estimated_invoices <= self.estimated_attempts


def told(invoices: Iterable[Invoice], purposes: Purposes) -> list[Invoice]:
    """The invoices with what the ledger knows of them; an attempt that it does not know stays as it is."""
    found = ((invoice, purposes.get((invoice.provider, invoice.request_id))) for invoice in invoices)
    return [
        invoice if purpose is None else structs.replace(invoice, run=purpose.run, cause=purpose.cause)
        for invoice, purpose in found
    ]


def checked(
    invoices: Sequence[Invoice], purposes: Purposes, *, ledger_usd_nanos: int, estimated_attempts: int
) -> Check:
    """`ledger_usd_nanos`: of everything in it."""
    known = {id: purpose.reported_usd_nanos for id, purpose in purposes.items()}
    reported = sum(cost for cost in known.values() if cost is not None)
    left = [invoice for invoice in invoices if known.get((invoice.provider, invoice.request_id)) is None]
    unreported = sum(invoice.usd_nanos for invoice in left)
    return Check(
        reported=_sides(reported, sum(invoice.usd_nanos for invoice in invoices) - unreported),
        estimated=_sides(ledger_usd_nanos - reported, unreported),
        estimated_attempts=estimated_attempts,
        estimated_invoices=len(left),
    )


def _sides(ledger: int, bill: int) -> Sides:
    return Sides(ledger, bill, ledger - bill)
