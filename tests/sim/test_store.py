"""The store of accounts by itself: every interleaving of reserve and settle ends where the sums say it must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.state.store import MemoryStore
from proxy.types import Amounts, Reservation
from tests.sim.virtual import run

PATH = ("team:t", "key:k")


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 1_000)), max_size=40))
def test_a_hold_is_counted_once_and_ended_once(moves: list[tuple[int, bool, int]]) -> None:
    async def once() -> None:
        store = MemoryStore()
        live: dict[str, Reservation] = {}
        ended: list[Reservation] = []
        posted = 0
        for number, reserves, amount in moves:
            id = f"r{number}"
            if reserves:
                reserved = await store.reserve(id, PATH, Amounts(usd_nanos=amount, tokens=1), 1e9)
                assert isinstance(reserved, Reservation)
                assert reserved == live.setdefault(id, reserved)
            elif id in live:
                ended.append(live.pop(id))
                posted += amount
                await store.settle(ended[-1], Amounts(usd_nanos=amount))
            else:
                for old in ended:
                    if old.id == id:
                        await store.settle(old, Amounts(usd_nanos=amount, tokens=amount))
            account = store.account("key:k")
            held = sum(reservation.amounts.usd_nanos for reservation in live.values())
            assert (account.held_usd_nanos, account.held_tokens) == (held, len(live))
            assert account.posted_usd_nanos == posted
            assert store.live == len(live)

    run(once())


def test_an_account_that_holds_nothing_makes_room_and_one_that_holds_does_not() -> None:
    async def once() -> None:
        store = MemoryStore(accounts_max=2)
        await store.reserve("r", ("busy",), Amounts(usd_nanos=5), 1e9)
        store.account("idle")
        store.account("new")
        assert store.account("busy").held_usd_nanos == 5
        assert len(store._accounts) == 2

    run(once())
