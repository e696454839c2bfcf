"""What a start makes of ledger and journal: after a clean stop exactly what was, after a crash never less."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from policies.limits import Limit, LimitsByName, Totals
from proxy.errors import ProxyError
from proxy.holds import Reservation
from proxy.money.holds import HELD
from proxy.state.events import TopUp
from proxy.state.journal import Journal
from proxy.types import Amounts, Charge, Period
from tests.effort import examples, some
from tests.loop import run
from tests.proxy.house import House


async def test_after_a_clean_stop_everything_is_as_it_was(tmp_path: Path) -> None:
    house = House(tmp_path)
    for number in range(20):
        await house.whole_call(f"c{number}", cost=150 if number % 5 == 0 else 40)
    before = house.totals
    assert house.of("key:k", "usd") == Totals(spent=16 * 40 + 4 * 150)
    house.restart()
    assert house.totals == before
    assert (house.restored.expired, house.restored.checkpoint) == (0, 20)
    assert not (tmp_path / "holds").stat().st_size


async def test_a_call_that_a_crash_cut_is_charged_in_full_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.whole_call("ended")
    await house.ledger.flush()
    await house.hold("cut", 100)
    house.crash()
    assert house.restored.expired == 1
    assert house.of("key:k", "usd") == Totals(spent=40, unresolved=100)
    assert house.of("key:k", "requests") == Totals(spent=1, unresolved=1)
    assert house.of("run:r", "usd") == Totals(spent=40, unresolved=50)
    assert house.of("key:k", "concurrency") == Totals()
    assert house.budgets.live == 0
    before = house.totals
    for _ in range(2):
        house.crash()
        assert (house.restored.expired, house.totals) == (0, before)


async def test_a_settlement_that_did_not_reach_the_disk_counts_as_its_hold(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.whole_call("lost", usd_nanos=100, cost=40)
    house.crash()
    assert house.of("key:k", "usd") == Totals(unresolved=100)


async def test_one_that_did_counts_as_what_it_cost(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.whole_call("kept", usd_nanos=100, cost=40)
    await house.ledger.flush()
    house.crash()
    assert house.of("key:k", "usd") == Totals(spent=40)


async def test_the_hold_as_it_was_raised_last_is_the_one_that_counts(tmp_path: Path) -> None:
    house = House(tmp_path)
    reserved = await house.hold("cut", 100)
    assert isinstance(await house.budgets.extend(reserved, replace(reserved.amounts, usd_nanos=300)), Reservation)
    house.crash()
    assert house.of("key:k", "usd") == Totals(unresolved=300)


async def test_a_call_of_which_a_mark_is_known_counts_as_that(tmp_path: Path) -> None:
    house = House(tmp_path)
    for id in ("cut", "ended"):
        reserved = await house.hold(id, 100)
        for reached in (20, 30):
            house.budgets.mark(reserved, Amounts(reached, tokens=reached + 1))
    house.record("ended", house.post(reserved, 90))
    house.budgets.mark(reserved, Amounts(1))
    await house.ledger.flush()
    house.crash()
    assert house.of("key:k", "usd") == Totals(spent=90, unresolved=30)
    assert house.of("agent:a", "tokens") == Totals(spent=90, unresolved=31)
    assert house.of("key:k", "requests") == Totals(spent=1, unresolved=1)
    before = house.totals
    house.crash()
    assert (house.restored.expired, house.totals) == (0, before)


async def test_a_fresh_journal_keeps_the_marks_of_calls_that_run(tmp_path: Path) -> None:
    house = House(tmp_path)
    reserved = await house.hold("cut", 100)
    house.budgets.mark(reserved, Amounts(30, tokens=30))
    house.books.journal.rotate(house.books._records())
    house.books.journal.sync()  # the old one is gone
    house.crash()
    assert house.of("key:k", "usd") == Totals(unresolved=30)


async def test_a_hold_that_nothing_was_sent_for_leaves_nothing_once_its_row_is_there(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.budgets.void(await house.hold("voided"))
    house.record("voided")
    await house.ledger.flush()
    house.crash()
    assert (house.restored.expired, house.totals) == (0, {})


async def test_a_start_that_is_cut_between_event_and_journal_does_not_charge_twice(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.hold("cut", 100)
    house.kill()
    journal = (tmp_path / "holds").read_bytes()
    house.open()
    house.kill()
    (tmp_path / "holds").write_bytes(journal)
    house.open()
    assert (house.restored.expired, house.of("key:k", "usd")) == (0, Totals(unresolved=100))


async def test_a_journal_torn_at_any_byte_charges_the_holds_that_are_whole(tmp_path: Path) -> None:
    house = House(tmp_path / "first")
    for number in range(3):
        await house.hold(f"c{number}", 100)
    house.kill()
    whole = (tmp_path / "first" / "holds").read_bytes()
    seen = set()
    for cut in some(range(0, len(whole) + 1, 7)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "holds").write_bytes(whole[:cut])
        torn = House(folder)
        seen.add(torn.restored.expired)
        assert torn.of("key:k", "usd") == Totals(unresolved=100 * torn.restored.expired)
        torn.kill()
    assert seen == {0, 1, 2} or seen == {0, 1, 2, 3}


async def test_a_window_that_has_closed_is_of_no_account(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.whole_call("yesterday")
    await house.ledger.flush()
    await house.hold("cut", 100)
    house.kill()
    house.clock.at_wall += 86_400
    house.open()
    assert house.of("agent:a", "tokens") == Totals()
    assert house.of("key:k", "usd") == Totals(spent=40, unresolved=100)


async def test_a_limit_that_no_longer_exists_is_dropped(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.whole_call("c")
    house.stop()
    house.rules = LimitsByName({"key:k": (Limit("usd", 5),)})
    house.open()
    assert (house.restored.periods, house.restored.dropped) == (4, 3)
    assert [(period.account, period.unit) for period in house.totals] == [("key:k", "usd")]


async def test_a_top_up_is_kept_and_its_id_stays_known(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.whole_call("dear", usd_nanos=100, cost=10**6 + 50)
    assert house.of("key:k", "usd").overrun == 50
    changes = house.budgets.top_up("id", "key:k", unit="usd", amount=1_000)
    assert changes is not None
    house.books.append_event("topup", "key:k", TopUp("id", "usd", 1_000, changes))
    before = house.totals
    assert house.of("key:k", "usd") == Totals(spent=10**6, overrun=50, granted=1_000, forgiven=50)
    for again in (house.restart, house.restart):
        again()
        assert house.totals == before
    house.budgets.top_up("id", "key:k", unit="usd", amount=1_000)
    assert house.totals == before


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\x91\x01"])
def test_a_hold_that_cannot_be_read_refuses_the_start(tmp_path: Path, payload: bytes) -> None:
    journal = Journal(tmp_path / "holds")
    journal.append(HELD, payload)
    journal.close()
    with pytest.raises(ProxyError, match=r"holds .* damaged"):
        House(tmp_path)


async def test_a_start_reads_no_more_than_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    house = House(tmp_path)
    for number in range(30):
        await house.whole_call(f"c{number}")
    await house.keeper.checkpoint()
    await house.whole_call("later")
    await house.ledger.flush()
    before = house.totals
    house.crash()
    assert (house.restored.checkpoint, house.totals) == (30, before)


# --- any sequence ----------------------------------------------------------------------------------------------------


class Known:
    """One call, as the model knows it."""

    def __init__(self, reservation: Reservation, held: dict[Period, int]) -> None:
        self.reservation = reservation
        self.held = {period: amount for period, amount in held.items() if amount and period.unit != "concurrency"}
        self.ended = self.recorded = self.on_disk = False
        self.charges: tuple[Charge, ...] = ()


Sums = dict[Period, Totals]
WHICH = st.integers(0, 100)


def add(sums: Sums, period: Period, **more: int) -> None:
    old = sums.get(period, Totals())
    sums[period] = replace(old, **{name: getattr(old, name) + amount for name, amount in more.items()})


def something(sums: Sums) -> Sums:
    return {period: totals for period, totals in sums.items() if totals != Totals()}


def used(sums: Sums) -> dict[Period, int]:
    amounts = {period: t.spent + t.overrun + t.unresolved for period, t in sums.items()}
    return {period: amount for period, amount in amounts.items() if amount}


class Restarts(RuleBasedStateMachine):
    """Totals after a stop are those before it; after a crash, what the disk knows and every other hold in full."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.house = House(self.folder)
        self.calls: list[Known] = []
        self.topups = 0
        self.appended: Sums = {}
        self.on_disk: Sums = {}

    def teardown(self) -> None:
        self.house.kill()
        shutil.rmtree(self.folder)

    def call(self, which: int) -> Known | None:
        return self.calls[which % len(self.calls)] if self.calls else None

    @rule(usd=st.integers(0, 200))
    def reserve(self, usd: int) -> None:
        reserved = run(self.house.hold(f"c{len(self.calls)}", usd))
        (hold,) = [hold for hold in self.house.budgets.accounts._live.values() if hold.id == reserved.id]
        self.calls.append(Known(reserved, dict(zip(hold.windows.periods, hold.taken, strict=True))))

    @rule(which=WHICH, cost=st.integers(0, 300))
    def post(self, which: int, cost: int) -> None:
        known = self.call(which)
        if known is not None and not known.ended:
            known.ended, known.charges = True, self.house.post(known.reservation, cost)

    @rule(which=WHICH)
    def void(self, which: int) -> None:
        known = self.call(which)
        if known is not None and not known.ended:
            known.ended = True
            self.house.budgets.void(known.reservation)

    @rule(which=WHICH)
    def record(self, which: int) -> None:
        known = self.call(which)
        if known is not None and known.ended and not known.recorded:
            known.recorded = True
            self.house.record(known.reservation.id, known.charges)
            for charge in known.charges:
                add(self.appended, charge.period, spent=charge.amount - charge.overrun, overrun=charge.overrun)

    @rule(amount=st.integers(1, 50))
    def top_up(self, amount: int) -> None:
        self.topups += 1
        id = f"topup {self.topups}"
        changes = self.house.budgets.top_up(id, "key:k", unit="usd", amount=amount)
        assert changes is not None
        self.house.books.append_event("topup", "key:k", TopUp(id, "usd", amount, changes))
        for change in changes:
            add(self.appended, change.period, granted=change.granted, forgiven=change.forgiven)

    @rule()
    def flush(self) -> None:
        run(self.house.ledger.flush())
        self.on_disk = dict(self.appended)
        for known in self.calls:
            known.on_disk = known.recorded

    @rule()
    def checkpoint(self) -> None:
        run(self.house.keeper.checkpoint())

    @rule()
    def compare(self) -> None:
        self.flush()
        assert run(self.house.keeper.compare()) == []

    @rule()
    def sweep(self) -> None:
        self.house.clock.at += 61.0
        self.house.keeper.sweep()
        for known in self.calls:
            if not known.ended:
                known.ended = known.recorded = True
                usd = known.reservation.amounts.usd_nanos  # which is what the soft limit is charged too
                add(self.appended, Period("run:r", "usd", "run", 0, "agent:a"), spent=usd)
                for period, amount in known.held.items():
                    if period.account != "run:r":
                        add(self.appended, period, spent=amount)

    @rule()
    def crash(self) -> None:
        for known in self.calls:
            if not known.on_disk:
                for period, amount in known.held.items():
                    add(self.on_disk, period, unresolved=amount)
            known.ended = known.recorded = known.on_disk = True
        self.house.crash()
        assert self.house.totals == something(self.on_disk)
        self.appended = dict(self.on_disk)

    @rule()
    def restart(self) -> None:
        for which, known in enumerate(self.calls):
            if not known.ended:
                self.post(which, 7)
            self.record(which)
        before = self.house.totals
        self.house.restart()
        assert self.house.totals == before == something(self.appended)
        assert self.house.restored.expired == 0
        self.on_disk = dict(self.appended)
        for known in self.calls:
            known.on_disk = True

    @invariant()
    def what_is_used_is_what_is_recorded_or_posted_ahead(self) -> None:
        expected = used(self.appended)
        for known in self.calls:
            for charge in () if known.recorded else known.charges:
                expected[charge.period] = expected.get(charge.period, 0) + charge.amount
        assert used(self.house.totals) == {period: amount for period, amount in expected.items() if amount}


TestRestarts = Restarts.TestCase
TestRestarts.settings = settings(examples(60), stateful_step_count=30)
