"""The exact cache and the journal of replays: what a hit costs, and that nobody pays twice or gets another's answer."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from policies.cache_rules import CacheRules, wanted
from proxy.caching.desk import Caches
from proxy.caching.recalled import Recalled
from proxy.clock import SystemClock, loop_time
from proxy.dialects.openai_request import read
from proxy.execution.flights import Flights
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.renewal import Nobody
from proxy.snapshot import AgentRules
from proxy.types import Call, Identity
from tests import loop
from tests.caches.row import Row, at_most, shown
from tests.flow.world import KEY, REPLY, Peer, World
from tests.known import caches
from tests.money import WatchedBudgets
from tests.proxy.caching.samples import kept
from tests.proxy.telemetry.samples import CALL
from tests.workers import replays

RULES = CacheRules(exact="on")
SEED = 11
HITS, BATCHES = 2_000, 5
RUNS_KILLED = 100
AT_ONCE = 1_000
REQUESTS = 4_473  # any two of them: 10,001,628 pairs
TENANTS = 40


def rows(folder: Path | None) -> Iterator[Row]:
    """The recorded traffic says nothing here: no answer in it is the same."""
    for size in (1_000, 10_000, 100_000):
        spent_us = asyncio.run(hit_us(size))
        figure = f"exact hit of a conversation of {size:,} bytes, CPU: its names, and from memory"
        yield (
            at_most(figure, spent_us, 60, unit="us", digits=1)
            if size <= 10_000
            else shown(figure, f"{spent_us:.1f} us")
        )
    calls, answered = loop.run(at_once(AT_ONCE))
    yield shown("identical calls at once that were answered", f"{answered:,}")
    yield at_most("upstream calls for them", calls, 1, digits=0)
    with tempfile.TemporaryDirectory() as home:
        verdict = replays.run(Path(home), RUNS_KILLED)
    yield shown(f"steps of {RUNS_KILLED} killed runs that were taken again", f"{verdict.replayed:,}")
    yield at_most("of those, upstream calls", verdict.twice, 0, digits=0)
    yield at_most("of those, with another answer than the first", verdict.differing, 0, digits=0)
    pairs, foreign = cross_tenant(REQUESTS)
    yield at_most(f"hits across tenants in {pairs:,} pairs of requests", foreign, 0, digits=0)


# --- what a hit costs ------------------------------------------------------------------------------------------------


async def hit_us(size: int) -> float:
    """The best of some batches: others use the machine too."""
    clock = SystemClock(seed=SEED, now=loop_time)
    desk, call = caches(clock), conversation(size)
    record = fresh(call)
    desk.want(record, RULES, "r")
    record.flight = Flights().begin(call, Nobody(), record.wanted)
    known = Recalled(replace(kept(), body=REPLY))
    await desk.keep(record, RULES, (known, known), REPLY)
    best = min([_batch(desk, call) for _ in range(BATCHES)])
    await desk.close()
    return best


def _batch(desk: Caches, call: Call) -> float:
    records = [fresh(call) for _ in range(HITS)]
    want, recall = desk.want, desk.recall
    began = time.process_time()
    for record in records:
        want(record, RULES, "r")
        assert recall(record, RULES) is not None
    return (time.process_time() - began) / HITS * 1e6


def fresh(call: Call) -> Record:
    return Record(call, Purse(WatchedBudgets(SystemClock(seed=SEED)), call.id, (), 60.0))


def conversation(size: int) -> Call:
    """Turns of some 500 bytes, as an agent resends them."""
    chance, messages = random.Random(SEED), list[dict[str, str]]()
    while sum(len(message["content"]) + 40 for message in messages) < size:
        role = "user" if len(messages) % 2 == 0 else "assistant"
        words = [f"{chance.getrandbits(20):x}" for _ in range(80)]
        messages.append({"role": role, "content": " ".join(words)})
    raw = msgspec.json.encode({"model": "m", "messages": messages, "temperature": 0})
    return replace(CALL, raw=raw, head=read("chat", raw, "application/json"))


# --- many at once ----------------------------------------------------------------------------------------------------


async def at_once(count: int) -> tuple[int, int]:
    """How many calls the upstream had, and how many were answered."""

    async def slow(peer: Peer) -> None:
        await asyncio.sleep(5)
        await peer.reply(REPLY)

    async with World(slow, rules=AgentRules(cache=RULES)) as world:
        body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
        replies = await asyncio.gather(*[world.request(body, key=KEY) for _ in range(count)])
        return len(world.upstreams[0].requests), sum(reply.body == REPLY for reply in replies)


# --- whose answer it is ----------------------------------------------------------------------------------------------


def cross_tenant(count: int) -> tuple[int, int]:
    """All pairs of so many random requests: how many there are, and how many could answer each other across tenants."""
    chance = random.Random(SEED)
    owners: dict[bytes, Counter[tuple[str, str]]] = defaultdict(Counter)
    for _ in range(count):
        call, tenant = _random_call(chance)
        found = wanted(call, CacheRules(exact="on", scope=chance.choice(("agent", "team"))), "r")
        assert found is not None
        assert found.exact is not None
        owners[found.exact][tenant] += 1
    foreign = sum(_pairs(sum(each.values())) - sum(map(_pairs, each.values())) for each in owners.values())
    return _pairs(count), foreign


def _random_call(chance: random.Random) -> tuple[Call, tuple[str, str]]:
    """Few questions and many who ask them, of names that could be taken for one another."""
    names = [f"{chance.choice(('', 'team ', 'key ', '1:'))}{number}" for number in range(TENANTS)]
    key, team = chance.choice(names), chance.choice((None, *names))
    who = Identity(
        key_id=key, agent=chance.choice(("a", "b", key)), agent_source="key", run=chance.choice((None, "r")), team=team
    )
    content = chance.choice(("yes?", "no?"))
    raw = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": content}]})
    call = replace(CALL, raw=raw, head=read("chat", raw, "application/json"), identity=who)
    return call, ("key", key) if team is None else ("team", team)


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
