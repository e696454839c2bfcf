"""A gate that is killed at any moment of a stream: what its journal says, against what the upstream charges by then."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from policies.limits import Limit, LimitsByName
from proxy.money.books import Books
from proxy.money.holds import HoldRecord, holds
from proxy.providers.base import UpstreamRequest
from proxy.state.journal import Journal
from proxy.state.ledger import Ledger
from proxy.types import AbortRule
from tests.build import PRICE
from tests.money import WatchedBudgets
from tests.sim.gate import STREAM, SmallGate
from tests.sim.scenes import EVENTS, Asked, Generation
from tests.sim.vendor import Script, Step
from tests.sim.virtual import SeededClock, run

TOKENS = 1_500
LONG = STREAM.replace(b'"max_tokens":100', b'"max_tokens":4000')


def steady(request: UpstreamRequest) -> Script:
    """A token every twenty milliseconds."""
    made = Generation("gen-x", Asked.of(request), Random(1))
    steps = tuple(Step(0.02 * turn, made.piece(turn % 1_000, 0), turn) for turn in range(1, TOKENS + 1))
    return Script("good", 200, EVENTS, (Step(0.01, made.role()), *steps), prompt=15, output=TOKENS)


class Kept(WatchedBudgets):
    """Budgets with a journal that the test reads as the next start would."""

    def __init__(self, folder: Path) -> None:
        clock = SeededClock(1)
        limits = (Limit("usd", 10**12, hold="strict"), Limit("tokens", 10**9))
        super().__init__(clock, LimitsByName({"key:k": limits}))
        self.ledger = Ledger.open(folder / "ledger.db")
        self.path = folder / "holds"
        self._witness = Books(self.ledger, self.accounts, Journal(self.path), clock)

    def found(self) -> HoldRecord | None:
        return next(iter(holds(Journal.read(self.path)).values()), None)


class Moment:
    """A kill, as it would have been."""

    def __init__(self, record: HoldRecord, bill: int, made: int) -> None:
        self.charged = next(amount for period, amount in record.due() if period.unit == "usd")
        self.held = record.held_usd_nanos()
        self.bill = bill
        self.made = made


def moments(folder: Path, abort: AbortRule) -> list[Moment]:
    async def main() -> list[Moment]:
        store = Kept(folder)
        gate = SmallGate(steady, store=store, abort=abort)
        serving = gate.tasks.start("call", gate.pipeline.serve(gate.call(LONG), gate.wire, gate.snapshot))
        rng, found = Random(2), []
        while not serving.done():  # ends: with the stream
            await asyncio.sleep(rng.uniform(0.005, 0.4))
            record, sales = store.found(), gate.vendor.sales
            if record is None or not sales or sales[0].closed_at is not None:
                continue
            bill = 15 * PRICE.input_uncached + sales[0].seen * PRICE.output
            found.append(Moment(record, -(-bill // 1_000), sales[0].seen))
        store.ledger.close()
        assert gate.defects == []
        return found

    return run(main())


def test_where_closing_ends_the_bill_hardly_more_than_what_was_relayed_is_charged(tmp_path: Path) -> None:
    seen = moments(tmp_path, "stops")
    assert len(seen) > 100
    begun = [moment for moment in seen if moment.made > 2]
    assert all(moment.bill <= moment.charged for moment in seen)
    second_usd_nanos = 64 * PRICE.output // 1_000  # four of the least guard, which stands for a speed that is not known
    margin_usd_nanos = 16 * PRICE.output // 1_000 + (len(LONG) // 2 + 64) * PRICE.input_cache_write_5m // 1_000
    slack = 1.1  # tokens are counted by bytes
    for moment in begun:
        assert moment.charged <= slack * (moment.bill + second_usd_nanos + margin_usd_nanos)
    early = [moment for moment in begun if moment.made < 200]
    assert max(moment.charged for moment in early) < early[0].held / 2


@pytest.mark.parametrize("abort", ["continues", "unknown"])
def test_where_it_does_not_all_that_was_held_is(tmp_path: Path, abort: AbortRule) -> None:
    seen = moments(tmp_path, abort)
    assert len(seen) > 100
    assert all(moment.charged == moment.held for moment in seen)
