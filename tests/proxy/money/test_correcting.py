"""What a bill says comes into the ledger once, into open windows, and is there after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from policies.limits import Limit, LimitsByName, Totals
from proxy.money.correcting import Billed, LedgerTools
from proxy.state import events
from proxy.state.events import Change, Expired
from proxy.state.export import attempts
from proxy.state.fold import fold
from proxy.state.ledger import Ledger
from proxy.types import Amounts, Period
from tests.proxy.desk import Desk
from tests.proxy.state.samples import attempt, call, outcome

LIMITED = LimitsByName({"agent:a": (Limit("usd", 10_000), Limit("tokens", 500)), "key:k": (Limit("usd", 90_000),)})
AGENT = Period("agent:a", "usd", "total", 0, "agent:a")


class Books(Desk):
    def __init__(self, folder: Path) -> None:
        super().__init__(Ledger.open(folder / "ledger.db"), LIMITED)
        self.tools = LedgerTools(self.ledger, self.budgets)

    async def spend(self, id: str, usd_nanos: int) -> None:
        """One call that was held, posted and written down."""
        path = ("key:k", "agent:a")
        held = await self.budgets.reserve(id, path, lambda left: Amounts(usd_nanos, 15), ttl_s=60.0)
        charges = self.budgets.post(held, Amounts(usd_nanos, 15))  # type: ignore[arg-type]
        self.ledger.append(replace(outcome(call(id), attempt(cost=usd_nanos)), charges=charges))

    def lose(self, id: str, usd_nanos: int) -> None:
        """One call whose end a crash has swallowed."""
        changes = (
            Change("agent:a", "usd", "total", 0, "agent:a", unresolved=usd_nanos),
            Change("agent:a", "tokens", "total", 0, "agent:a", unresolved=70),
        )
        at = self.budgets._at()
        for change in changes:
            totals = Totals(unresolved=change.unresolved)
            self.budgets.accounts.seed(change.period, totals, at=at)
        self.ledger.append_event("expire", id, Expired("crash", ("agent:a",), 1.0, changes))

    async def correct(self, *corrections: tuple[str, int | None, int]) -> list[tuple[str, int]]:
        billed = [Billed(f"line-{request}", request, number, usd) for request, number, usd in corrections]
        done = await self.tools.correct("bill.csv", billed, "someone")
        assert done.difference_usd_nanos == sum(row.difference_usd_nanos for row in done.rows)
        return [(row.result, row.difference_usd_nanos) for row in done.rows]

    def totals(self, unit: str = "usd") -> Totals:
        return next(each.totals for each in self.budgets.standing("agent:a") if each.period.unit == unit)

    def as_written(self) -> dict[Period, Totals]:
        sums = self.ledger.read_now(fold).balances
        return {
            period: Totals(each.spent, each.overrun, each.unresolved, each.granted, each.forgiven)
            for period, each in sums.items()
        }

    def agrees(self) -> bool:
        """What the rows add up to is what the accounts say."""
        written = self.as_written()
        return all(
            written.get(each.period, Totals()) == each.totals
            for name in ("agent:a", "key:k")
            for each in self.budgets.standing(name)
        )


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


@pytest.mark.parametrize("billed", [4_000, 1_500, 0, 20_000])
async def test_a_difference_changes_every_open_window_of_the_call_and_stands_in_the_ledger(
    billed: int, books: Books
) -> None:
    await books.spend("x", 2_000)
    assert await books.correct(("x", 1, billed)) == [("booked", billed - 2_000)]
    totals = books.totals()
    assert totals.spent + totals.overrun == billed
    assert totals.overrun == max(0, billed - 10_000)
    assert books.agrees()
    (row,) = books.ledger.read_now(attempts).rows
    assert (row.cost_usd_nanos, row.adjusted_usd_nanos) == (2_000, billed - 2_000)
    (body,) = [body for (body,) in books.ledger.read_now(lambda c: c.execute("SELECT body FROM event").fetchall())]
    assert '"id":"line-x","bill":"bill.csv","attempt":1' in body and '"by":"someone"' in body


async def test_a_repeat_books_nothing_even_within_one_request(books: Books) -> None:
    await books.spend("x", 2_000)
    assert await books.correct(("x", 1, 2_500), ("x", 1, 2_500)) == [("booked", 500), ("repeated", 0)]
    assert await books.correct(("x", 1, 2_500)) == [("repeated", 0)]
    assert books.totals().spent == 2_500
    assert books.agrees()


async def test_two_at_the_same_moment_book_one_difference(books: Books) -> None:
    await books.spend("x", 2_000)
    done = await asyncio.gather(*(books.correct(("x", 1, 3_000)) for _ in range(5)))
    assert sorted(result for ((result, _),) in done) == ["booked", *["repeated"] * 4]
    assert books.totals().spent == 3_000


async def test_a_later_bill_has_the_last_word(books: Books) -> None:
    await books.spend("x", 2_000)
    for billed in (5_000, 1_000, 5_000):
        await books.correct(("x", 1, billed))
        assert books.totals().spent == billed
    assert books.agrees()


async def test_what_the_ledger_does_not_know_is_said_and_changes_nothing(books: Books) -> None:
    await books.spend("x", 2_000)
    assert await books.correct(("nobody", 1, 5), ("x", 2, 5), ("x", None, 5)) == [("unknown", 0)] * 3
    assert books.totals().spent == 2_000


@pytest.mark.parametrize(("billed", "tokens"), [(300, 70), (0, 0)])
async def test_a_lost_call_is_no_longer_unresolved(billed: int, tokens: int, books: Books) -> None:
    books.lose("gone", 900)
    assert await books.correct(("gone", None, billed)) == [("booked", billed)]
    assert books.totals() == Totals(spent=billed)
    assert books.totals("tokens") == Totals(spent=tokens)
    assert books.agrees()
    assert (await books.tools.unresolved(None, None)).rows == []
    assert await books.correct(("gone", None, billed)) == [("repeated", 0)]
    assert await books.correct(("gone", None, billed + 50)) == [("booked", 50)]
    assert books.totals().spent == billed + 50
    assert books.agrees()


async def test_a_window_that_is_closed_is_left_alone_and_the_difference_is_kept(books: Books) -> None:
    await books.spend("x", 2_000)
    for account in (books.budgets.accounts,):
        account.replace(LimitsByName({"key:k": (Limit("usd", 90_000),)}))  # the agent's limit is gone
    done = await books.tools.correct("b", [Billed("l", "x", 1, 2_500)], "someone")
    assert (done.rows[0].result, done.rows[0].windows) == ("booked", 1)
    (row,) = books.ledger.read_now(attempts).rows
    assert row.adjusted_usd_nanos == 500


async def test_money_that_comes_back_lets_a_call_through_that_waits_for_it(books: Books) -> None:
    await books.spend("x", 9_000)
    at = books.budgets._at()
    assert books.budgets.accounts.room(("agent:a",), at=at).usd_nanos == 1_000
    await books.correct(("x", 1, 1_000))
    assert books.budgets.accounts.room(("agent:a",), at=at).usd_nanos == 9_000


async def test_after_a_restart_the_balances_are_the_corrected_ones(books: Books, tmp_path: Path) -> None:
    await books.spend("x", 2_000)
    await books.correct(("x", 1, 2_600))
    books.ledger.close()
    again = Ledger.open(tmp_path / "ledger.db")
    assert again.read_now(fold).balances[AGENT].spent == 2_600


async def test_verification_reads_what_has_just_been_appended(books: Books) -> None:
    await books.spend("x", 2_000)
    found = await books.tools.verify(0, hash=None, expect=None)
    assert (found.checked, found.seq, found.broken) == (1, 1, None)
    assert found.hash == books.ledger.head.hash.hex()


def test_an_event_of_a_correction_counts_as_a_difference() -> None:
    assert "adjust" in events.COUNTED
