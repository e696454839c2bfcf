"""Leases: a hold is taken from all of them or from none, and both sides agree on every amount without comparing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.accounts import Accounts
from policies.leases import Leases, Terms, Wanted
from policies.lending import Lending
from policies.limits import Instant, Limit, LimitsByName
from proxy.types import Amounts, Period
from tests.effort import examples

PATH = ("agent:a", "run:r")


def period(account: str = "agent:a") -> Period:
    return Period(account, "usd", "total", 0, account)


def terms(number: int, amount: int, *, exact: bool = False, resets: float = 1e12, account: str = "agent:a") -> Terms:
    return Terms(number, period(account), 0, resets, amount, exact)


def usd(amount: int) -> Amounts:
    return Amounts(usd_nanos=amount)


def test_a_hold_is_on_all_leases_or_on_none() -> None:
    leases = Leases()
    wide, narrow = leases.take((terms(1, 100), terms(2, 10, account="run:r")), 0.0)
    assert not leases.hold("c", PATH, (wide, narrow), draw=usd(11), wall=0.0)
    assert (wide.held, narrow.held) == (0, 0)
    assert leases.hold("c", PATH, (wide, narrow), draw=usd(10), wall=0.0)
    assert (wide.free, narrow.free) == (90, 0)


def test_a_closed_window_lends_nothing_more() -> None:
    leases = Leases()
    lent = leases.take((terms(1, 100, resets=60.0),), 0.0)
    assert leases.hold("a", PATH, lent, draw=usd(1), wall=59.9)
    assert not leases.hold("b", PATH, lent, draw=usd(1), wall=60.0)


def test_what_is_used_leaves_the_lease_when_its_settlement_does() -> None:
    leases = Leases()
    (lease,) = leases.take((terms(1, 100),), 0.0)
    leases.hold("c", PATH, (lease,), draw=usd(40), wall=0.0)
    charges = leases.post("c", usd(15), 1.0)
    assert charges is not None
    assert [charge.amount for charge in charges] == [15]
    assert (lease.amount, lease.used, lease.held, lease.free) == (100, 15, 0, 85)
    assert leases.settle("c") == ((1, 15),)
    assert (lease.amount, lease.used, lease.free) == (85, 0, 85)
    assert leases.settle("c") == ()
    assert leases.post("c", usd(15), 1.0) is None


def test_of_an_exact_lease_the_rest_goes_back_at_once() -> None:
    leases = Leases()
    lent = leases.take((terms(1, 50, exact=True),), 0.0)
    leases.hold("c", PATH, lent, draw=usd(40), wall=0.0)
    leases.trim(lent)
    assert leases.returns == [(1, 10)]
    leases.post("c", usd(15), 0.0)
    assert leases.returns == [(1, 10), (1, 25)]


def test_an_idle_lease_goes_back_and_is_closed() -> None:
    leases = Leases()
    leases.take((terms(1, 50),), 0.0)
    leases.look(0.5, 0.0, 0.5)
    assert leases.returns == []
    leases.look(1.0, 0.0, 0.5)
    assert leases.returns == [(1, 50), (1, -1)]
    assert len(leases) == 0


def test_a_lease_that_is_half_used_is_to_be_renewed_once() -> None:
    leases = Leases()
    lent = leases.take((terms(1, 100),), 0.0)
    for number in range(9):
        leases.hold(str(number), PATH, lent, draw=usd(10), wall=0.0)
    (wanted,) = leases.look(0.5, 0.0, 0.5)
    assert (wanted.number, wanted.typical) == (1, 10)
    assert wanted.ahead >= 20
    assert leases.look(0.9, 0.0, 0.4) == ()


def test_what_is_wanted_stays_within_bounds_however_often_calls_ask() -> None:
    leases = Leases()
    for number in range(200):
        lent = leases.take((terms(1, 10, exact=number % 2 == 0),), 0.0)
        leases.hold(str(number), PATH, lent, draw=usd(10), wall=0.0)
        leases.grow(lent)
    assert lent[0].wanted.ahead <= 10 * 1_024


def test_what_is_lent_does_not_grow_by_itself() -> None:
    leases = Leases()
    lent = leases.take((terms(1, 20),), 0.0)
    leases.hold("c", PATH, lent, draw=usd(10), wall=0.0)
    leases.grow(lent)
    asked = 0
    for _ in range(50):
        wanted = leases.look(0.1, 0.0, 0.5)
        asked += len(wanted)
        leases.take(tuple(terms(1, each.ahead) for each in wanted), 0.1)
    assert asked <= 1
    assert lent[0].amount <= 60


@pytest.mark.parametrize(("draw", "total", "fits"), [(40, 60, True), (40, 101, False)])
def test_a_raise_needs_free_money(draw: int, total: int, fits: bool) -> None:
    leases = Leases()
    (lease,) = leases.take((terms(1, 100),), 0.0)
    leases.hold("c", PATH, (lease,), draw=usd(draw), wall=0.0)
    lacking = leases.lacking("c", usd(total))
    assert (lacking is None) is fits
    assert leases.extend("c", usd(total)) is fits
    assert lease.held == (total if fits else draw)


class Pair:
    """An owner and several slots with messages under way between them, in order, delivered at any time."""

    def __init__(self, limit: int, slots: int) -> None:
        rules = LimitsByName({"agent:a": (Limit("usd", limit),)}, {"run": (Limit("usd", limit // 2),)})
        self.accounts = Accounts(rules)
        self.owner = [Lending(self.accounts, slots=slots) for _ in range(slots)]
        self.workers = [Leases() for _ in range(slots)]
        self.up: list[list[tuple[str, object]]] = [[] for _ in range(slots)]
        self.down: list[list[tuple[Terms, ...]]] = [[] for _ in range(slots)]
        self.used = 0
        self.limit = limit
        self.at = Instant(0.0, 0.0)
        self.count = 0
        self.paths: list[dict[str, tuple[int, ...]]] = [{} for _ in range(slots)]

    def ask(self, slot: int, amount: int) -> None:
        self.count += 1
        id = f"{slot}.{self.count}"
        held = self.accounts.reserve(id, ("agent:a", f"run:{slot}"), ask=lambda left: usd(amount), at=self.at, ttl_s=60)
        if hasattr(held, "taken"):
            self.down[slot].append(self.owner[slot].lend(id, {}))

    def hold(self, slot: int, amount: int) -> None:
        self.count += 1
        known = {lease.period.account: lease for lease in self.workers[slot]._leases.values()}
        path = ("agent:a", f"run:{slot}")
        if all(account in known for account in path):
            lent = tuple(known[account] for account in path)
            self.workers[slot].hold(f"h{self.count}", path, lent, draw=usd(amount), wall=0.0)

    def end(self, slot: int, share: float) -> None:
        leases = self.workers[slot]
        if leases.live:
            id, hold = next(iter(leases.live.items()))
            used = int(hold.draw.usd_nanos * share)
            leases.post(id, usd(used), 0.0)
            self.flush(slot)
            self.used += used
            self.up[slot].append(("settled", leases.settle(id)))

    def recall(self, slot: int) -> None:
        self.workers[slot].recall(tuple(self.workers[slot]._leases))
        self.flush(slot)

    def flush(self, slot: int) -> None:
        returns = self.workers[slot].returns
        if returns:
            self.up[slot].append(("returned", tuple(returns)))
            returns.clear()

    def deliver_up(self, slot: int) -> None:
        if self.up[slot]:
            kind, what = self.up[slot].pop(0)
            if kind == "settled":
                self.owner[slot].settle(what)  # type: ignore[arg-type]
            else:
                self.owner[slot].take_back(what)  # type: ignore[arg-type]

    def deliver_down(self, slot: int) -> None:
        if self.down[slot]:
            self.workers[slot].take(self.down[slot].pop(0), 0.0)

    def check(self) -> None:
        for standing in self.accounts.state("agent:a", at=self.at):
            assert standing.totals.overrun == 0
            assert standing.totals.spent + standing.held <= self.limit
            assert standing.held >= 0
        for leases in self.workers:
            for lease in leases._leases.values():
                assert lease.amount >= lease.held + lease.used >= 0
                assert lease.free >= 0

    def rest(self) -> None:
        """Everything under way arrives, everything held ends."""
        for slot in range(len(self.workers)):
            while self.down[slot]:
                self.deliver_down(slot)
            while self.workers[slot].live:
                self.end(slot, 0.5)
            self.recall(slot)
            while self.up[slot]:
                self.deliver_up(slot)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["ask", "hold", "end", "recall", "up", "down"]),
        st.integers(0, 2),
        st.integers(1, 400),
        st.floats(0, 1),
    ),
    max_size=80,
)


@examples(150)
@given(MOVES)
def test_however_messages_cross_nothing_is_spent_that_was_not_there(
    moves: list[tuple[str, int, int, float]],
) -> None:
    pair = Pair(limit=5_000, slots=3)
    for move, slot, amount, share in moves:
        match move:
            case "ask":
                pair.ask(slot, amount)
            case "hold":
                pair.hold(slot, amount)
            case "end":
                pair.end(slot, share)
            case "recall":
                pair.recall(slot)
            case "up":
                pair.deliver_up(slot)
            case "down":
                pair.deliver_down(slot)
        pair.check()
    pair.rest()
    pair.check()
    (standing, *_) = pair.accounts.state("agent:a", at=pair.at)
    assert (standing.totals.spent, standing.held) == (pair.used, 0)


def test_a_dead_slot_gives_back_what_it_had_not_spent() -> None:
    chance = random.Random(1)
    pair = Pair(limit=100_000, slots=3)
    for _ in range(50):
        slot = chance.randrange(3)
        pair.ask(slot, 100)
        pair.deliver_down(slot)
        pair.hold(slot, 50)
    for lending in pair.owner:
        lending.close()
    assert [standing.held for standing in pair.accounts.state("agent:a", at=pair.at)] == [0]


def test_terms_name_what_is_wanted() -> None:
    leases = Leases()
    (lease,) = leases.take((terms(7, 100),), 0.0)
    assert lease.wanted == Wanted(7, 0, 0)
