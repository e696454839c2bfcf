"""A thousand calls at once against a budget that pays for a few dozen: what a limit lets through, of each kind.

The upstream's prompts count anything up to a token for each byte, its answers have any length up to the limit it was
told, and what it charges stands in its own books. The same calls against a store that checks first and adds afterwards,
as gateways commonly do, show what the difference is worth.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from msgspec import Struct

from policies.limits import Limit, LimitsByName
from proxy.errors import ProxyError
from proxy.holds import Left, Reservation
from proxy.providers.base import UpstreamRequest
from proxy.state.store import Ask
from proxy.types import Amounts, Charge
from tests.build import PRICE
from tests.effort import some
from tests.money import WatchedBudgets
from tests.sim.client import Wire
from tests.sim.gate import SmallGate
from tests.sim.scenes import DONE, EVENTS, JSON, Asked, Generation
from tests.sim.vendor import Script, Step
from tests.sim.virtual import SeededClock, run

LIMIT = 20_000_000  # two cents
CALLS = 1_000


class Moody:
    """Answers of random length, to prompts that count at random; figures and limits are kept to."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)

    def __call__(self, request: UpstreamRequest) -> Script:
        rng, asked = self._rng, Asked.of(request)
        assert asked.tokens_max is not None, "nobody told the upstream a limit"
        made = Generation("gen-x", asked, rng)
        made.prompt, made.cached = rng.randint(1, len(request.body)), 0
        made.output = rng.choice((made.length, max(made.length, asked.tokens_max // 2), asked.tokens_max))
        wait_s, told = rng.uniform(0.1, 3.0), made.usage()
        if not asked.stream:
            whole = (Step(wait_s, made.whole(told), made.output),)
            return Script("good", 200, JSON, whole, prompt=made.prompt, output=made.output)
        end = made.piece(0, 0) + made.finish() + made.usage_event(told) + DONE
        steps = (Step(0.1, made.role(), 0), Step(wait_s, end, made.output))
        return Script("good", 200, EVENTS, steps, prompt=made.prompt, output=made.output)


class CheckThenAdd(WatchedBudgets):
    """What is common: is there money now? What it cost is added when it is known."""

    spent = 0

    async def reserve(self, id: str, path: tuple[str, ...], ask: Ask, *, ttl_s: float) -> Reservation | ProxyError:
        if self.spent >= LIMIT:
            return ProxyError("budget_exceeded", "The budget is spent.", status=429)
        return Reservation(id, path, ask(Left()), ttl_s)

    def post(self, reservation: Reservation, used: Amounts) -> tuple[Charge, ...]:
        self.spent += used.usd_nanos
        return ()


class Result(Struct):
    bill: int  # by the upstream's own books
    served: int
    spent: int
    overrun: int
    held: int


def storm(store: WatchedBudgets, seed: int) -> Result:
    async def main() -> Result:
        gate, rng = SmallGate(Moody(seed), store=store), Random(seed)

        async def one() -> None:
            await asyncio.sleep(rng.uniform(0, 5))
            wish = rng.choice(("", ',"max_tokens":500', ',"max_tokens":50'))
            if isinstance(store, CheckThenAdd) and not wish:
                wish = ',"max_tokens":500'  # nothing tells the upstream there
            stream = rng.choice(("true", "false"))
            text = "a question " * rng.randint(1, 100)
            body = f'{{"model":"m","messages":[{{"role":"user","content":"{text}"}}],"stream":{stream}{wish}}}'
            await gate.pipeline.serve(gate.call(body.encode()), Wire(), gate.snapshot)

        async with asyncio.TaskGroup() as group:
            for _ in range(CALLS):
                group.create_task(one())
        assert gate.defects == []
        sums = store.account("key:k")
        return Result(
            bill=sum(sale.usd_nanos(PRICE) for sale in gate.vendor.sales),
            served=len(gate.vendor.sales),
            spent=sums.posted_usd_nanos,
            overrun=sum(standing.totals.overrun for standing in store.standing("key:k")),
            held=sums.held_usd_nanos,
        )

    return run(main())


def limited(seed: int, *limits: Limit) -> WatchedBudgets:
    return WatchedBudgets(SeededClock(seed), LimitsByName({"key:k": (*limits, Limit("tokens", 10**12))}))


@pytest.mark.parametrize("seed", some(range(3)))
def test_a_strict_limit_is_never_overrun(seed: int) -> None:
    result = storm(limited(seed, Limit("usd", LIMIT, hold="strict")), seed)
    assert result.served > 20
    assert result.bill == result.spent <= LIMIT
    assert (result.overrun, result.held) == (0, 0)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_an_estimated_limit_shows_its_overrun_and_bounds_it(soft: bool) -> None:
    result = storm(limited(1, Limit("usd", LIMIT, soft=soft)), 1)
    assert result.bill == result.spent
    assert result.bill - LIMIT <= result.overrun
    assert 0 < result.overrun < LIMIT // 4, "prompts of four times the estimate do not fit every hold"


def test_checking_first_and_adding_afterwards_spends_many_times_the_limit() -> None:
    result = storm(CheckThenAdd(SeededClock(1)), 1)
    print(f"check, then add: {result.bill / LIMIT:.1f} times the limit")
    assert result.bill > 5 * LIMIT


def test_the_upstream_is_closed_before_a_slow_client_hears_of_the_cut() -> None:
    def endless(request: UpstreamRequest) -> Script:
        made = Generation("gen-x", Asked.of(request), Random(1))
        steps = tuple(Step(0.01 * turn, made.piece(turn % 1_000, 0), turn) for turn in range(1, 3_000))
        return Script("good", 200, EVENTS, steps, prompt=10, output=3_000)

    async def main() -> None:
        store = WatchedBudgets(SeededClock(1), LimitsByName({"key:k": (Limit("tokens", 1_500),)}))
        gate = SmallGate(endless, store=store)
        slow_s, wire = 0.2, Wire(slow_s=0.2)
        body = b'{"model":"m","messages":[],"stream":true,"max_tokens":4000}'
        await gate.pipeline.serve(gate.call(body, allowed_s=10_000.0), wire, gate.snapshot)
        (sale,) = gate.vendor.sales
        assert b"x_headgate" in wire.body
        assert sale.closed_at is not None
        assert sale.closed_at <= wire.acted_at - slow_s

    run(main())
