"""Enumerated interruption: the run of a call is killed at the call's first wait, its second ... until none is left.

Wherever that strikes, the client is told or has its reply whole, there is one outcome, and nothing is held a second
later; what cannot be settled by then is said to drain.
"""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from proxy.runs.registry import Applied, RunCommand
from proxy.types import AbortRule, Outcome
from tests.sim.gate import PLAIN, STREAM, SmallGate
from tests.sim.test_cancellation import WAITS_MAX, cancelled_at
from tests.sim.virtual import run

KILL = RunCommand("kill", "key:k/r", "1", "test", 0.0)


async def kill_at(count: int, gate: SmallGate, raw: bytes) -> tuple[int, Applied | None]:
    """How many waits there were, and what the kill at wait number `count` has done."""
    loop = asyncio.get_running_loop()
    call = gate.call(raw)
    call = structs.replace(call, identity=structs.replace(call.identity, run="r"))
    applying: list[asyncio.Task[Applied]] = []

    async def kill() -> Applied:
        began = gate.clock.now()
        applied = await gate.runs.apply(KILL)
        assert gate.clock.now() - began <= 1.0
        assert gate.store.live <= applied.draining
        return applied

    async def handler() -> int:
        serving = gate.pipeline.serve(call, gate.wire, gate.snapshot)
        return await cancelled_at(count, serving, lambda: applying.append(loop.create_task(kill())))

    waits = await loop.create_task(handler())
    applied = await applying[0] if applying else None
    await gate.check()
    assert gate.runs.in_flight == 0
    return waits, applied


@pytest.mark.parametrize("raw", [PLAIN, STREAM], ids=["plain", "stream"])
@pytest.mark.parametrize("abort", ["stops", "continues", "unknown"])
def test_wherever_a_kill_strikes_the_client_is_told_and_nothing_is_left(raw: bytes, abort: AbortRule) -> None:
    told = 0
    for count in range(1, WAITS_MAX):
        outcome, applied = run(once(count, raw, abort))
        assert not outcome.client_gone
        if applied is None:
            assert told >= 2
            assert outcome.error_code is None
            return
        assert (outcome.error_code == "run_killed") == (applied.interrupted == 1)
        if applied.interrupted and not applied.draining:
            assert applied.cost_usd_nanos == outcome.cost_usd_nanos
        told += applied.interrupted
    raise AssertionError("the call never came to its end")


async def once(count: int, raw: bytes, abort: AbortRule) -> tuple[Outcome, Applied | None]:
    gate = SmallGate(abort=abort, bills_on=abort == "continues")
    _, applied = await kill_at(count, gate, raw)
    return gate.outcomes[0], applied
