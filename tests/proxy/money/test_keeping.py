"""Sweep, checkpoint, comparison, and a stop that leaves nothing to be worked out."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from msgspec import json

from policies.limits import Totals
from proxy.money.keeping import CHECKPOINT_ROWS, CHECKPOINT_S, COMPARE_S, EVERY_S
from proxy.state.events import Checkpoint
from tests.proxy.house import House
from tests.proxy.state.samples import call, outcome


def checkpoints(house: House) -> list[Checkpoint]:
    query = "SELECT body FROM event WHERE kind = 'checkpoint' ORDER BY seq"

    def bodies(file: sqlite3.Connection) -> list[Checkpoint]:
        return [json.decode(body, type=Checkpoint) for (body,) in file.execute(query)]

    house.ledger.write_now()
    return house.ledger.read_now(bodies)


async def test_a_hold_past_its_time_is_charged_in_full_and_told(tmp_path: Path) -> None:
    house = House(tmp_path)
    reserved = await house.hold("stuck", 100)
    house.clock.at += 59.0
    house.keeper.sweep()
    assert house.budgets.live == 1
    house.clock.at += 1.0
    house.keeper.sweep()
    assert (house.budgets.live, house.of("key:k", "usd")) == (0, Totals(spent=100))
    assert house.told == [("hold expired", "error", {"id": "stuck", "account": "run:r"})]
    assert house.post(reserved, 7) == ()  # its call ends after all
    house.record("stuck")
    house.restart()
    assert (house.restored.expired, house.of("key:k", "usd")) == (0, Totals(spent=100))


async def test_a_crash_after_the_sweep_does_not_charge_again(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.hold("stuck", 100)
    house.clock.at += 61.0
    house.keeper.sweep()
    await house.ledger.flush()
    house.crash()
    assert (house.restored.expired, house.of("key:k", "usd")) == (0, Totals(spent=100))


async def test_the_room_of_an_expired_hold_goes_to_who_waits_for_it(tmp_path: Path) -> None:
    house = House(tmp_path)
    for number in range(100):
        await house.hold(f"c{number}", 1)
    waiting = asyncio.ensure_future(house.hold("next", 1))  # noqa: TID251
    await asyncio.sleep(0)
    assert house.budgets.waiting == 1
    house.clock.at += 61.0
    house.keeper.sweep()
    assert (await waiting).id == "next"


async def test_a_checkpoint_has_all_balances_in_parts_of_one_set(tmp_path: Path) -> None:
    house = House(tmp_path)
    for number in range(1_100):
        await house.whole_call(f"c{number}", path=("key:k", "agent:a", f"run:{number}"))
    await house.keeper.checkpoint()
    parts = checkpoints(house)
    assert [(part.set, part.last) for part in parts] == [(1_100, False), (1_100, False), (1_100, True)]
    before = house.totals
    assert len(before) == 1_100 + 3
    house.crash()
    assert (house.restored.checkpoint, house.totals) == (1_100, before)


async def test_calls_that_end_while_a_checkpoint_is_taken_are_counted_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    for number in range(1_100):
        await house.whole_call(f"c{number}", cost=1, path=("key:k", "agent:a", f"run:{number}"))
    taking = asyncio.ensure_future(house.keeper.checkpoint())  # noqa: TID251
    for number in range(3):
        await asyncio.sleep(0)
        for of in (number, 400 + number, 800 + number):
            await house.whole_call(f"more{number} {of}", cost=5, path=("key:k", "agent:a", f"run:{of}"))
    await taking
    await house.ledger.flush()
    assert await house.keeper.compare() == []
    before = house.totals
    house.crash()
    assert house.totals == before
    assert house.of("key:k", "usd") == Totals(spent=1_145)


async def test_a_difference_between_live_balances_and_rows_is_told(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.whole_call("c", cost=40)
    assert await house.keeper.compare() == []
    house.post(await house.hold("posted and never recorded"), 9)
    assert await house.keeper.compare() == []
    house.books._posted.clear()  # ... which nobody knows of
    (first, *_) = await house.keeper.compare()
    assert (first.period.account, first.live.spent, first.rows.spent) == ("key:k", 49, 40)
    event, level, fields = house.told[0]
    assert (event, level, fields["account"], fields["live"]) == ("ledger difference", "error", "key:k", 49)


async def test_a_ledger_that_cannot_be_written_is_no_difference(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.ledger.query(lambda file: file.execute("PRAGMA max_page_count = 1").fetchall())
    for number in range(100):
        await house.whole_call(f"c{number}", cost=40)
    assert await house.keeper.compare() == []
    assert (house.ledger.failed, house.told) == (1, [])


async def test_a_count_that_was_lost_is_a_difference_too(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.whole_call("c", cost=40)
    await house.ledger.flush()
    balance = next(iter(house.budgets.accounts._roster.meters("run:r"))).balance
    balance.used = 0
    assert [difference.period.account for difference in await house.keeper.compare()] == ["run:r"]


async def test_after_limits_were_taken_away_nothing_is_compared_until_the_next_checkpoint(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.whole_call("c", cost=40)
    house.budgets.accounts.replace(type(house.rules)({}))
    house.budgets.accounts.replace(house.rules)
    await house.whole_call("d", cost=1)
    assert await house.keeper.compare() == []
    assert house.told == []
    await house.keeper.checkpoint()
    assert await house.keeper.compare() == []
    house.restart()
    assert house.of("key:k", "usd") == Totals(spent=41)


async def test_a_checkpoint_without_a_limit_is_no_difference_once_that_is_back(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.whole_call("c", cost=40)
    house.budgets.accounts.replace(type(house.rules)({}))
    await house.keeper.checkpoint()
    house.budgets.accounts.replace(house.rules)
    await house.whole_call("d", cost=1)
    assert await house.keeper.compare() == []
    await house.keeper.checkpoint()
    assert await house.keeper.compare() == []
    house.crash()
    assert house.of("key:k", "usd") == Totals(spent=41)


async def test_checkpoints_are_taken_when_something_changed_after_minutes_or_many_rows(tmp_path: Path) -> None:
    house = House(tmp_path)
    keeping = asyncio.ensure_future(house.keeper.keep())  # noqa: TID251

    async def ticks(seconds: float) -> None:
        for _ in range(int(seconds / EVERY_S)):
            house.clock.at += EVERY_S
            await asyncio.sleep(EVERY_S)

    await ticks(2 * CHECKPOINT_S)
    assert checkpoints(house) == []
    house.record("one")
    await ticks(2 * CHECKPOINT_S)
    assert len(checkpoints(house)) == 1
    for number in range(CHECKPOINT_ROWS):
        house.books.append(outcome(call(str(number))))
    await ticks(2 * EVERY_S)
    assert len(checkpoints(house)) == 2
    keeping.cancel()


async def test_the_newest_hash_is_told_every_hour_and_at_the_end(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.record("one")
    await house.ledger.flush()
    keeping = asyncio.ensure_future(house.keeper.keep())  # noqa: TID251
    house.clock.at += COMPARE_S
    await asyncio.sleep(EVERY_S + 1)
    keeping.cancel()
    head = house.ledger.head
    assert ("ledger", "info", {"seq": 1, "hash": house.told[0][2]["hash"]}) == house.told[0]
    house.stop()
    assert house.ledger.head.seq > head.seq
    assert house.told[-1] == ("ledger", "info", {"seq": house.ledger.head.seq, "hash": house.ledger.head.hash.hex()})


async def test_a_hold_that_is_left_at_a_stop_stays_in_the_journal(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.hold("left", 100)
    house.restart()
    assert (house.restored.expired, house.of("key:k", "usd")) == (1, Totals(unresolved=100))


async def test_holds_stay_in_the_journal_when_the_ledger_could_not_be_written(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.ledger.query(lambda file: file.execute("PRAGMA max_page_count = 1").fetchall())
    await house.whole_call("lost", usd_nanos=100, cost=40)
    for number in range(200):
        house.record(f"c{number}")
    house.stop()
    assert house.ledger.failed
    house.open()
    assert (house.restored.expired, house.of("key:k", "usd")) == (1, Totals(unresolved=100))
