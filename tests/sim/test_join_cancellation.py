"""Enumerated cancellation of calls that share one upstream call: at each wait of the first client's, and of the one's
that has joined it.

Whoever leaves and whenever, the other gets the whole reply, there is one bill, and nothing is left.
"""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from msgspec import structs

from proxy.types import AbortRule, Outcome
from tests.sim.client import Wire
from tests.sim.gate import PLAIN, STREAM, SmallGate
from tests.sim.test_cancellation import WAITS_MAX, cancelled_at
from tests.sim.virtual import run

Who = Literal["leader", "follower"]
JOINS_AT_S = (0.05, 0.15, 1.2)  # before the head, before the first token, in the middle


class Pair:
    """Two clients with the same request; the second says that it asks again, `after_s` later."""

    def __init__(self, raw: bytes, abort: AbortRule, after_s: float) -> None:
        self.gate = SmallGate(abort=abort, bills_on=abort == "continues")
        self.wires: dict[Who, Wire] = {"leader": self.gate.wire, "follower": Wire()}
        self._raw = raw
        self._after_s = after_s

    async def serve(self, who: Who, leaves: Who, count: int) -> bool:
        """Whether the one that leaves had a wait number `count`."""
        gate, wire = self.gate, self.wires[who]
        call = gate.call(self._raw)
        if who == "follower":
            call = structs.replace(call, client_retry=1)
        task = asyncio.current_task()
        assert task is not None
        serving = gate.pipeline.serve(call, wire, gate.snapshot)
        if who != leaves:
            await serving
            return True
        return await cancelled_at(count, serving, lambda: wire.hang_up(task)) >= count

    async def play(self, leaves: Who, count: int) -> bool:
        loop = asyncio.get_running_loop()
        leader = loop.create_task(self.serve("leader", leaves, count))
        await asyncio.sleep(self._after_s)
        follower = loop.create_task(self.serve("follower", leaves, count))
        await asyncio.wait((leader, follower))
        await asyncio.sleep(60)
        one = leader if leaves == "leader" else follower
        return one.cancelled() or one.result()

    def check(self, leaves: Who) -> None:
        gate = self.gate
        assert gate.defects == []
        assert len(gate.outcomes) == gate.pipeline.begun == 2
        assert gate.store.live == 0, "money is still held"
        assert len(gate.tasks) == 0
        assert all(sale.closed_at is not None for sale in gate.vendor.sales), "an exchange is left open"
        assert repr(gate.pipeline._flights) == "Flights(0 calls, 0 bytes kept)"
        assert all(wire.faults == [] for wire in self.wires.values())
        stays = self.wires["follower" if leaves == "leader" else "leader"]
        assert (stays.status, stays.ended) == (200, "end" if b"stream" in self._raw else "whole")
        assert b'"stop"' in stays.body
        billed = sum(attempt.cost_usd_nanos or 0 for outcome in gate.outcomes for attempt in outcome.attempts)
        assert gate.store.account("key:k").posted_usd_nanos == billed


@pytest.mark.parametrize("abort", ["stops", "continues"])
@pytest.mark.parametrize("after_s", JOINS_AT_S)
@pytest.mark.parametrize("raw", [PLAIN, STREAM], ids=["plain", "stream"])
@pytest.mark.parametrize("leaves", ["leader", "follower"])
def test_whoever_leaves_at_any_wait_the_other_has_the_whole_reply(
    leaves: Who, raw: bytes, after_s: float, abort: AbortRule
) -> None:
    shared = 0
    for count in range(1, WAITS_MAX):

        async def once(count: int = count) -> tuple[bool, list[Outcome]]:
            pair = Pair(raw, abort, after_s)
            reached = await pair.play(leaves, count)
            pair.check(leaves)
            return reached, pair.gate.outcomes

        reached, outcomes = run(once())
        sent = sum(len(outcome.attempts) for outcome in outcomes)
        joined = any(outcome.served_by == "join" for outcome in outcomes)
        shared += joined and sent == 1
        assert sent <= (1 if joined or leaves == "follower" else 2)
        if not reached:
            assert shared >= 1
            return
    raise AssertionError("the call never came to its end")


@pytest.mark.parametrize("raw", [PLAIN, STREAM], ids=["plain", "stream"])
def test_when_both_leave_at_once_nothing_is_left(raw: bytes) -> None:
    async def once(at_s: float) -> None:
        pair = Pair(raw, "stops", 0.05)
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[bool]] = []
        for who in ("leader", "follower"):
            tasks.append(loop.create_task(pair.serve(who, who, WAITS_MAX)))
            await asyncio.sleep(0.05)
        await asyncio.sleep(at_s)
        left_at = loop.time()
        for wire, task in zip(pair.wires.values(), tasks, strict=True):
            wire.hang_up(task)  # type: ignore[arg-type]  # what it returns is nobody's business
        await asyncio.sleep(60)
        gate = pair.gate
        assert [outcome.client_gone for outcome in gate.outcomes] == [True, True]
        assert sum(len(outcome.attempts) for outcome in gate.outcomes) == 1
        assert all(sale.closed_at is not None and sale.closed_at - left_at <= 0.1 for sale in gate.vendor.sales)
        assert gate.store.live == 0
        assert repr(gate.pipeline._flights) == "Flights(0 calls, 0 bytes kept)"

    for at_s in (0.01, 0.3, 0.9):
        run(once(at_s))
