"""Random runs under random ceilings, and what an upstream's own books say of each: nothing of them may be broken.

A run works step by step, sometimes several steps at once, starts children that do the same, and goes on for a while
after it was refused. Prompts count at random, answers have any length up to the limit that the upstream was told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from random import Random

from msgspec import Struct, structs

from policies.limits import Limit, LimitsByName
from policies.retry import Retry
from policies.runs import RunLimits
from proxy.providers.base import UpstreamRequest
from proxy.snapshot import AgentRules
from proxy.types import AbortRule, Identity
from tests.build import PRICE
from tests.money import WatchedBudgets
from tests.sim.client import Wire
from tests.sim.gate import SmallGate
from tests.sim.scenes import DONE, EVENTS, JSON, Asked, Generation
from tests.sim.vendor import Sale, Script, Step
from tests.sim.virtual import SeededClock, run

TOP = "top"
STEPS_MAX = 8
OBSTINATE = 3  # refusals after which a run gives up
CHILDREN_MAX = 12
IN_TIME_S = 1e-6


class Ceilings(Struct, frozen=True):
    """None: no such ceiling. Money in nano-dollars."""

    usd_nanos: int | None = None
    tokens: int | None = None
    steps: int | None = None
    seconds: float | None = None
    width: int | None = None
    depth: int | None = None
    soft: bool = False  # a run at its ceiling gets its best answer back

    def limits(self) -> tuple[Limit, ...]:
        found = []
        if self.usd_nanos is not None:
            found.append(Limit("usd", self.usd_nanos, per="run", hold="strict"))
        if self.tokens is not None:
            found.append(Limit("tokens", self.tokens, per="run", hold="strict"))
        if self.steps is not None:
            found.append(Limit("steps", self.steps, per="run"))
        return tuple(found)

    def rules(self) -> AgentRules:
        limits = RunLimits(self.seconds, self.width, self.depth, "best" if self.soft else "error")
        return AgentRules(retry=Retry(attempts=2), run=limits)


class Asking(Struct, frozen=True):
    """One call as its run sees it."""

    run: str
    level: int
    lineage: tuple[str, ...]  # with itself


class Lived(Struct):
    """What a run has done. `began`: of each run, the first call."""

    ceilings: Ceilings
    asked: dict[str, Asking]  # by call
    began: dict[str, float]
    ended: dict[str, float]  # of each call, for its client
    sales: list[Sale]
    served: int = 0
    given: int = 0  # best answers
    refused: int = 0


def drawn(seed: int) -> Ceilings:
    """Each ceiling for half of the runs, from next to nothing to more than is needed."""
    rng = Random(f"ceilings {seed}")
    one = rng.random
    return Ceilings(
        usd_nanos=int(10 ** rng.uniform(5, 7.5)) if one() < 0.5 else None,
        tokens=int(10 ** rng.uniform(2, 4.5)) if one() < 0.5 else None,
        steps=rng.randint(0, 20) if one() < 0.5 else None,
        seconds=rng.uniform(1, 40) if one() < 0.5 else None,
        width=rng.randint(1, 4) if one() < 0.5 else None,
        depth=rng.randint(1, 4) if one() < 0.5 else None,
        soft=one() < 0.5,
    )


def live(seed: int) -> Lived:
    return run(Life(drawn(seed), seed).live())


class Life:
    def __init__(self, ceilings: Ceilings, seed: int) -> None:
        self._rng = rng = Random(seed)
        abort: AbortRule = rng.choice(("stops", "unknown", "continues"))
        store = WatchedBudgets(SeededClock(seed), LimitsByName({}, {"agent": ceilings.limits()}))
        self._gate = SmallGate(
            self._answer, store=store, rules=ceilings.rules(), abort=abort, bills_on=abort == "continues"
        )
        self._children = 0
        self._lived = Lived(ceilings, {}, {}, {}, self._gate.vendor.sales)

    async def live(self) -> Lived:
        await self._work((TOP,))
        await asyncio.sleep(120)
        assert self._gate.defects == []
        assert self._gate.store.live == 0, "money is still held"
        return self._lived

    def _answer(self, request: UpstreamRequest) -> Script:
        rng, asked = self._rng, Asked.of(request)
        made = Generation("gen-x", asked, rng)
        made.prompt, made.cached = rng.randint(1, len(request.body)), 0
        made.output = rng.randint(1, asked.tokens_max or 300)
        wait_s, told = rng.expovariate(1 / 2.0), made.usage()
        if not asked.stream:
            steps: tuple[Step, ...] = (Step(wait_s, made.whole(told), made.output),)
            return Script("good", 200, JSON, steps, prompt=made.prompt, output=made.output)
        end = made.piece(0, 0) + made.finish() + made.usage_event(told) + DONE
        steps = (Step(0.1, made.role(), 0), Step(0.1 + wait_s, end, made.output))
        return Script("good", 200, EVENTS, steps, prompt=made.prompt, output=made.output)

    async def _work(self, lineage: tuple[str, ...]) -> None:
        rng, refused = self._rng, 0
        async with asyncio.TaskGroup() as group:
            for _ in range(rng.randint(1, STEPS_MAX)):
                if rng.random() < 0.3 and len(lineage) < 5 and self._children < CHILDREN_MAX:
                    self._children += 1
                    group.create_task(self._work((*lineage, f"child {self._children}")))
                together = rng.choice((1, 1, 1, 3))
                fine = await asyncio.gather(*[self._call(lineage) for _ in range(together)])
                refused += fine.count(False)
                if refused >= OBSTINATE:
                    return
                await asyncio.sleep(rng.expovariate(1.0))

    async def _call(self, lineage: tuple[str, ...]) -> bool:
        rng, gate, lived = self._rng, self._gate, self._lived
        body: dict[str, object] = {
            "model": "m",
            "messages": [{"role": "user", "content": "a question " * rng.randint(1, 60)}],
            "stream": rng.random() < 0.5,
        }
        if rng.random() < 0.8:
            body["max_tokens"] = rng.randint(1, 600)
        parent = lineage[-2] if len(lineage) > 1 else None
        call = structs.replace(
            gate.call(json.dumps(body).encode()),
            identity=Identity(key_id="k", agent="a", run=lineage[-1], parent_run=parent),
        )
        lived.asked[call.id] = Asking(lineage[-1], len(lineage), lineage)
        for each in lineage:
            lived.began.setdefault(each, gate.clock.now())
        wire = Wire()
        record = await gate.pipeline.serve(call, wire, gate.snapshot)
        lived.ended[call.id] = gate.clock.now()
        given = record.served_by == "best"
        lived.given += given
        lived.served += record.status == 200 and not given
        lived.refused += record.status != 200
        return record.status == 200 and not given


# --- what must hold --------------------------------------------------------------------------------------------------


def broken(lived: Lived) -> Iterator[str]:
    """Every ceiling of every run of the tree, by the upstream's books."""
    for id in lived.began:
        sales = [sale for sale in lived.sales if id in lived.asked[sale.call_id].lineage]
        own = [sale for sale in sales if lived.asked[sale.call_id].run == id]
        yield from _sums(lived.ceilings, id, sales, own)
        yield from _times(lived, id, sales, own)


def _sums(ceilings: Ceilings, id: str, sales: list[Sale], own: list[Sale]) -> Iterator[str]:
    usd_nanos = sum(sale.usd_nanos(PRICE) for sale in sales)
    tokens = sum(sale.prompt + sale.output for sale in sales)
    steps = len({sale.call_id for sale in sales})
    for name, value, ceiling in (
        ("usd", usd_nanos, ceilings.usd_nanos),
        ("tokens", tokens, ceilings.tokens),
        ("steps", steps, ceilings.steps),
        ("width", _at_once(own), ceilings.width),
    ):
        if ceiling is not None and value > ceiling:
            yield f"{id}: {value} {name} of {ceiling}"


def _times(lived: Lived, id: str, sales: list[Sale], own: list[Sale]) -> Iterator[str]:
    ceilings = lived.ceilings
    if ceilings.depth is not None and own and lived.asked[own[0].call_id].level > ceilings.depth:
        yield f"{id}: stands below level {ceilings.depth}"
    for sale in sales if ceilings.seconds is not None else ():
        end = lived.began[id] + (ceilings.seconds or 0.0) + IN_TIME_S
        for did, at in (("asked", sale.asked_at), ("answered", lived.ended[sale.call_id])):
            if at > end:
                yield f"{id}: {did} {at - end:.3f} s after its end"


def _at_once(sales: list[Sale]) -> int:
    """The most of them that were open at the same time."""
    turns = sorted(turn for sale in sales for turn in ((sale.asked_at, 1), (sale.closed_at or 0.0, -1)))
    most = now = 0
    for _, turn in turns:
        now += turn
        most = max(most, now)
    return most
