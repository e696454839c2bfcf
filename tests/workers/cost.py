"""What a hold and its end cost a worker, in microseconds of CPU: printed, never asserted.

python -m tests.workers.cost
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from msgspec import Raw

from policies.leases import Hold, Leases, Terms, Wanted
from policies.limits import Limit, LimitsByName
from proxy.clock import SystemClock
from proxy.holds import Left, Reservation
from proxy.money.lease_messages import Asking
from proxy.money.leases import LeasedStore
from proxy.state.journal import Journal
from proxy.types import Amounts, Period
from proxy.workers.settlements import Settlements
from tests.proxy.state.samples import outcome

PATH = ("key:k", "agent:a", "run:r")
COUNT = 20_000
LIMITS = (Limit("usd", 10**15), Limit("requests", 10**9, "day"))


class Silent:
    def ask(self, asking: Asking) -> None:
        raise AssertionError("the leases should have paid")

    def withdraw(self, request: int) -> None: ...
    def give_back(self, leases: Leases) -> None: ...
    def renew(self, wanted: tuple[Wanted, ...]) -> None: ...


class Witness:
    settlements: Settlements

    def held(self, hold: Hold) -> bool:
        return self.settlements.note(hold)

    def marked(self, id: str, reached: Amounts) -> None:
        self.settlements.mark(id, reached)


def ask(left: Left) -> Amounts:
    return Amounts(1_000_000, 500, requests=1, steps=1, concurrency=1)


async def main(folder: Path) -> None:
    clock = SystemClock()
    rules = LimitsByName(dict.fromkeys(PATH, LIMITS))
    sent: list[Raw] = []
    witness = Witness()
    store = LeasedStore(clock, rules, Silent(), witness)
    settlements = witness.settlements = Settlements(
        Journal(folder / "worker.journal"), clock, store.leases, sent.append
    )
    store.heard(clock.now() + 3_600)
    lend(store)
    done = outcome()
    costs = [await measured(store, settlements, done, clock, write=write) for write in (False, True)]
    print(f"reserve and post, with the hold's record in the journal: {costs[0]:.1f} us")
    print(f"the same and the call's rows into journal and channel: {costs[1]:.1f} us")


def lend(store: LeasedStore) -> None:
    terms = [
        Terms(number, Period(name, limit.unit, limit.per, 0, name), index, 1e12, 10**14, False)
        for number, (name, limit, index) in enumerate(
            [(name, limit, 0 if limit.unit == "usd" else 2) for name in PATH for limit in LIMITS]
        )
    ]
    leases = store.leases.take(tuple(terms), 0.0)
    chart = store._chart(PATH)
    store._charts[PATH] = type(chart)(leases, chart.room, chart.pressure)


async def measured(
    store: LeasedStore, settlements: Settlements, done: object, clock: SystemClock, *, write: bool
) -> float:
    began = time.process_time()
    for number in range(COUNT):
        id = f"{number}-{write}"
        held = await store.reserve(id, PATH, ask, ttl_s=60)
        assert isinstance(held, Reservation)
        store.post(held, Amounts(400_000, 200, 1, 1))
        if write:
            settlements.append(done)  # type: ignore[arg-type]
            settlements.acknowledged(number)
        settlements._held.pop(id, None)
        store.leases._unsettled.clear()
    return (time.process_time() - began) / COUNT * 1e6


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
