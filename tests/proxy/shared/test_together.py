"""Once a second what gates share is heard, settled and probed; at the end everything goes back."""

from __future__ import annotations

import asyncio

from policies.rate_limit import Rates
from policies.shared_rate import IDLE_S, SharedAccount, Slice
from proxy.clock import SystemClock, loop_time
from proxy.shared.link import Link
from proxy.shared.together import Terms, Together
from proxy.tasks import Tasks
from tests.shared_store import FakeStore


class Silent:
    def asked(self, operation: str, outcome: str, seconds: float) -> None: ...

    def skipped(self, operation: str) -> None: ...


def made(store: FakeStore, tasks: Tasks, secret: bytes | None = b"s") -> Together:
    clock = SystemClock(seed=1, now=loop_time)
    link = Link(store, clock, timeout_s=0.05, heard=Silent(), tell=lambda *_: None)
    return Together(link, clock, tasks=tasks, terms=Terms(2, 3, "hg", secret))


def slice_of(together: Together) -> tuple[SharedAccount, Slice]:
    account = together.opening("agent:a", Rates(rpm=600))
    assert isinstance(account, SharedAccount)
    assert isinstance(account.requests, Slice)
    return account, account.requests


async def test_each_worker_of_each_gate_is_one_holder() -> None:
    together = made(FakeStore(loop_time), Tasks(lambda *_: None))
    account, _ = slice_of(together)
    assert (account.processes, account.holders) == (2, 6)


async def test_without_a_secret_no_answer_leaves_the_process() -> None:
    tasks = Tasks(lambda *_: None)
    assert made(FakeStore(loop_time), tasks, None).answers is None
    assert made(FakeStore(loop_time), tasks).answers is not None


async def test_once_a_second_it_is_heard_settled_and_probed() -> None:
    store, tasks = FakeStore(loop_time), Tasks(lambda *_: None)
    together = made(store, tasks)
    account, bucket = slice_of(together)
    bucket.hand = bucket.size
    together.rates.moved([account])
    tasks.start("shared store", together.keep())
    await asyncio.sleep(IDLE_S + 2)
    assert (bucket.hand, store.asked.count("run")) == (0, 2)  # it was greeted; the slice was idle
    assert store.asked[0] == "run"
    assert store.asked.count("ping") >= 2
    store.broken = True
    await asyncio.sleep(7)
    assert together.health() == "out"
    store.broken = False
    await asyncio.sleep(1.5)
    assert together.health() == "ok"
    await tasks.close()


async def test_at_the_end_everything_goes_back() -> None:
    store, tasks = FakeStore(loop_time), Tasks(lambda *_: None)
    together = made(store, tasks)
    account, bucket = slice_of(together)
    bucket.hand, bucket.used_at = 5, loop_time()
    together.rates.moved([account])
    await together.close()
    assert (bucket.hand, store.asked, store.closed) == (0, ["run"], True)
    await together.keep()  # ends
    assert "ping" not in store.asked
