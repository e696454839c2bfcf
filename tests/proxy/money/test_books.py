"""No hold without a record, no posting without a row; and the journal stays small."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from proxy.errors import ProxyError
from proxy.holds import Reservation
from proxy.money.books import SYNC_S, Books
from proxy.money.holds import holds
from proxy.state.journal import Journal
from proxy.state.ledger_rows import entry
from proxy.types import Amounts
from tests.proxy.house import NOON, House
from tests.proxy.state.samples import call, outcome


class FullDisk(Journal):
    """Takes `room` records more."""

    room = 0

    def append(self, kind: int, payload: bytes) -> None:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= 1
        super().append(kind, payload)


async def test_a_hold_is_in_the_journal_when_reserve_returns(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.hold("c", 100)
    (record,) = holds(Journal.read(tmp_path / "holds")).values()
    assert (record.id, record.wall, record.path) == ("c", NOON, ("key:k", "agent:a", "run:r"))
    assert [(name[0], name[1], amount) for name, amount in zip(record.names, record.taken, strict=True)] == [
        ("key:k", "usd", 100),
        ("key:k", "requests", 1),
        ("key:k", "concurrency", 1),
        ("agent:a", "tokens", 100),
        ("run:r", "usd", 50),
    ]


async def test_what_no_limit_stands_over_is_not_written(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.hold("c", 100, ("key:other",))
    assert list(Journal.read(tmp_path / "holds")) == []


async def test_a_hold_that_cannot_be_written_is_refused_and_takes_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    disk = house.books.journal = FullDisk(tmp_path / "full")
    refused = await house.reserve("c", Amounts(100))
    assert isinstance(refused, ProxyError)
    assert (refused.code, refused.status) == ("ledger_unavailable", 503)
    assert (house.budgets.live, house.books.live) == (0, 0)
    disk.room = 1
    reserved = await house.hold("d", 100)
    refused = await house.budgets.extend(reserved, Amounts(300))
    assert isinstance(refused, ProxyError)
    assert refused.code == "ledger_unavailable"
    disk.room = 1
    assert isinstance(await house.budgets.extend(reserved, Amounts(300)), Reservation)


@pytest.mark.parametrize("sent", [False, True], ids=["own call", "sent by another process"])
async def test_a_hold_is_live_until_its_row_is_on_the_disk(tmp_path: Path, sent: bool) -> None:
    house = House(tmp_path)
    charges = house.post(await house.hold("c"), 40)
    assert house.books.live == 1
    if sent:
        house.books.append_entry(entry(outcome(call("c"))))
    else:
        house.record("c", charges)
    house.books.tidy()
    assert house.books.live == 1
    await house.books.flush()
    house.books.tidy()
    assert house.books.live == 0
    assert repr(house.books).startswith("Books(0 holds, 0 posted ahead")


async def test_the_journal_keeps_what_is_live_when_it_is_rotated(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.books = Books(house.ledger, house.budgets.accounts, Journal(tmp_path / "small", size_max=2_000), house.clock)
    house.budgets._witness = house.books
    await house.hold("long", 7)
    for number in range(200):
        await house.whole_call(f"c{number}")
        if number % 5 == 0:
            house.clock.at_wall += SYNC_S
            await house.ledger.flush()
    assert sum(len(payload) for _, payload in Journal.read(tmp_path / "small")) < 6_000
    assert "long" in holds(Journal.read(tmp_path / "small"))
    assert house.books.live < 20


async def test_the_journal_is_synced_with_the_ledger_once_a_second(tmp_path: Path) -> None:
    house = House(tmp_path)
    for passed_s, synced in ((0.0, True), (0.0, False), (SYNC_S / 2, False), (SYNC_S, True)):
        house.clock.at_wall += passed_s
        await house.whole_call(f"{passed_s} {synced}")
        assert house.books.journal.unsynced
        await house.ledger.flush()
        assert house.books.journal.unsynced is not synced


async def test_a_posting_whose_row_is_still_to_come_is_left_out_of_what_a_checkpoint_says(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.whole_call("first", cost=40)
    charges = house.post(await house.hold("second"), 10**6)
    (part,) = house.books.parts()
    sums = {(change.account, change.unit): (change.spent, change.overrun) for change in part.balances}
    assert (part.through, sums["key:k", "usd"], sums["key:k", "requests"]) == (1, (40, 0), (1, 0))
    house.record("second", charges)
    (part,) = house.books.parts()
    sums = {(change.account, change.unit): (change.spent, change.overrun) for change in part.balances}
    assert (part.through, sums["key:k", "usd"], sums["key:k", "requests"]) == (2, (10**6, 40), (2, 0))


async def test_what_is_listed_is_listed_in_parts(tmp_path: Path) -> None:
    house = House(tmp_path)
    for number in range(1_100):
        await house.whole_call(f"c{number}", path=("key:k", "agent:a", f"run:{number}"))
    parts = list(house.books.parts())
    assert len(parts) == 3
    assert len({change.period for part in parts for change in part.balances}) == 1_100 + 4
