"""What one column of the demo came to in each chapter of the story.

A call counts where it began, an answer's price where its provider was asked, a run where it ended: a fault that begins
later cannot have touched what was over by then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from proxy.demo.fleet import Tally
from proxy.demo.runaway import Runaway
from proxy.demo.story import PhaseName, Story
from proxy.demo.vendor import Invoice, Vendor


class Seen(Struct, frozen=True):
    """All there is to know of one column. Instants are the clock's; the story began at `began_at`."""

    story: Story
    began_at: float
    tally: Tally
    vendors: tuple[Vendor, ...]
    invoices: Sequence[Invoice]
    runaway: Runaway  # its calls are in no count but that of upstream calls, and that of its own

    def within(self, phase: PhaseName, at: float) -> bool:
        return self.story.phase(at - self.began_at) == phase


class Figures(Struct, frozen=True):
    phase: PhaseName
    runs_completed: int
    runs_failed: int
    calls: int
    calls_failed: int
    first_token_p50_s: float | None
    first_token_p99_s: float | None
    upstream_calls: int  # refused ones too
    usd_nanos: int
    runaway_calls: int = 0  # beside the others


def by_phase(seen: Seen) -> list[Figures]:
    return [_figures(phase.name, seen) for phase in seen.story.phases]


def _figures(phase: PhaseName, seen: Seen) -> Figures:
    heard = [call for call in seen.tally.heard if seen.within(phase, call.began_at)]
    first_tokens_s = [call.reply.first_token_s for call in heard if call.reply is not None]
    endings = [end.ending for end in seen.tally.ends.values() if seen.within(phase, end.at)]
    asked = [at for vendor in seen.vendors for at in vendor.asked_at if seen.within(phase, at)]
    return Figures(
        phase=phase,
        runs_completed=endings.count("completed"),
        runs_failed=endings.count("failed"),
        calls=len(heard),
        calls_failed=len(heard) - len(first_tokens_s),
        runaway_calls=sum(seen.within(phase, call.began_at) for call in seen.runaway.tally.heard),
        first_token_p50_s=quantile(0.50, first_tokens_s),
        first_token_p99_s=quantile(0.99, first_tokens_s),
        upstream_calls=len(asked),
        usd_nanos=sum(invoice.usd_nanos for invoice in seen.invoices if seen.within(phase, invoice.asked_at)),
    )


def quantile(share: float, values: Sequence[float]) -> float | None:
    """The nearest rank, to the millisecond: a value that was measured, not one between two."""
    if not values:
        return None
    return round(sorted(values)[math.ceil(share * len(values)) - 1], 3)
