"""What a run is worth under tighter and tighter ceilings, and that none is ever broken.

A run drafts an answer and revises it eleven times; each revision mends a fifth of what is still wrong. What it costs
and how long it takes differs from run to run. Ceilings are shares of what a run needs in the middle of all. A client
that gets an error has nothing; where the policy is `at_limit: best` it has the last draft.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from statistics import mean, median

from msgspec import Struct, structs

from policies.limits import Limit, LimitsByName
from policies.retry import Retry
from policies.runs import AtLimit, RunLimits
from proxy.providers.base import UpstreamRequest
from proxy.snapshot import AgentRules
from proxy.types import Identity
from tests.build import PRICE
from tests.economics.row import Row, at_least, at_most, shown
from tests.money import WIDE, WatchedBudgets
from tests.sim.ceilings import broken, live
from tests.sim.client import Wire
from tests.sim.gate import SmallGate
from tests.sim.scenes import JSON
from tests.sim.vendor import Script, Step
from tests.sim.virtual import SeededClock, run

STEPS = 12
RUNS = 40  # of each ceiling and policy
RANDOM_RUNS = 1_000
FIRST, MENDED = 0.4, 0.2
SHARES = (1.6, 1.2, 1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
SMOOTH = 0.3  # of quality, the most that is lost from one of them to the next
PROMPT_TOKENS = (100, 900)  # of each call of a run; runs differ
OUTPUT_TOKENS = 400


class Done(Struct, frozen=True):
    quality: float
    usd_nanos: int
    seconds: float


def quality(drafts: int) -> float:
    """Of an answer that was revised so often; 1: nothing is wrong with it."""
    return 1 - (1 - FIRST) * (1 - MENDED) ** (drafts - 1) if drafts else 0.0


def workflow(seed: int, usd_nanos: int | None = None, seconds: float | None = None, at_limit: AtLimit = "best") -> Done:
    return run(_workflow(seed, usd_nanos, seconds, at_limit))


async def _workflow(seed: int, usd_nanos: int | None, seconds: float | None, at_limit: AtLimit) -> Done:
    rng = Random(seed)
    tokens = rng.randint(*PROMPT_TOKENS)

    def answer(request: UpstreamRequest) -> Script:
        draft = json.loads(request.body)["messages"][0]["content"].split()[1]
        output = int(rng.uniform(0.3, 1.0) * OUTPUT_TOKENS)
        usage = {"prompt_tokens": tokens, "completion_tokens": output, "total_tokens": tokens + output}
        choice = {"index": 0, "message": {"role": "assistant", "content": f"draft {draft}"}, "finish_reason": "stop"}
        reply = {"id": "x", "object": "chat.completion", "model": "real", "choices": [choice], "usage": usage}
        steps = (Step(rng.uniform(2.0, 6.0), json.dumps(reply).encode(), output),)
        return Script("good", 200, JSON, steps, prompt=tokens, output=output)

    limits = (
        WIDE if usd_nanos is None else LimitsByName({}, {"agent": (Limit("usd", usd_nanos, per="run", hold="strict"),)})
    )
    rules = AgentRules(retry=Retry(attempts=2), run=RunLimits(seconds=seconds, at_limit=at_limit))
    gate = SmallGate(answer, store=WatchedBudgets(SeededClock(seed), limits), rules=rules)
    began, drafts = gate.clock.now(), 0
    for number in range(1, STEPS + 1):
        prompt = f"draft {number} " + "x" * (4 * tokens)
        body = {"model": "m", "messages": [{"role": "user", "content": prompt}], "max_tokens": OUTPUT_TOKENS}
        call = gate.call(json.dumps(body).encode())
        wire = Wire()
        identity = Identity(key_id="k", agent="a", run="r")
        record = await gate.pipeline.serve(structs.replace(call, identity=identity), wire, gate.snapshot)
        drafts = 0
        if wire.status == 200:
            drafts = int(json.loads(wire.body)["choices"][0]["message"]["content"].split()[1])
        if wire.status != 200 or record.served_by == "best":
            break
    seconds_taken = gate.clock.now() - began
    await asyncio.sleep(60)
    bill = sum(sale.usd_nanos(PRICE) for sale in gate.vendor.sales)
    return Done(quality(drafts), bill, seconds_taken)


def rows(folder: Path | None) -> Iterator[Row]:
    yield from _random_runs()
    free = [workflow(seed) for seed in range(RUNS)]
    best = mean(done.quality for done in free)
    usd, seconds = median(done.usd_nanos for done in free), median(done.seconds for done in free)
    yield shown(f"quality without a ceiling ({usd / 1e9:.4f} USD, {seconds:.0f} s)", f"{best:.3f}")
    for name in ("usd", "seconds"):
        yield from _tightened(name, usd, seconds, best)


def _random_runs() -> Iterator[Row]:
    lived = [live(seed) for seed in range(RANDOM_RUNS)]
    calls = sum(each.served + each.given + each.refused for each in lived)
    found = sum(bool(list(broken(each))) for each in lived)
    yield at_most(f"of {RANDOM_RUNS:,} random runs ({calls:,} calls), those that broke a ceiling", found, 0, digits=0)


def _tightened(name: str, usd: float, seconds: float, free: float) -> Iterator[Row]:
    before, drops = free, []
    for share in SHARES:
        most_usd = int(share * usd) if name == "usd" else None
        most_s = share * seconds if name == "seconds" else None
        soft = [workflow(seed, most_usd, most_s) for seed in range(RUNS)]
        hard = [workflow(seed, most_usd, most_s, "error") for seed in range(RUNS)]
        reached, failing = mean(done.quality for done in soft), mean(done.quality for done in hard)
        over = _over(soft + hard, most_usd, most_s)
        yield shown(f"ceiling in {name} at {share:.0%}: quality, best answer | error", f"{reached:.3f} | {failing:.3f}")
        drops.append(before - reached)
        before = reached
        yield at_most("  runs above it", over, 0, digits=0)
    yield at_most(f"largest loss from one ceiling in {name} to the next", max(drops), SMOOTH)
    yield at_least(f"smallest loss from one ceiling in {name} to the next", min(drops), 0.0)


def _over(done: Iterable[Done], usd_nanos: int | None, seconds: float | None) -> int:
    return sum(
        (usd_nanos is not None and each.usd_nanos > usd_nanos)
        or (seconds is not None and each.seconds > seconds + 1e-6)
        for each in done
    )
