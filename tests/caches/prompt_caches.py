"""The prompt caches of commercial APIs: what recorded agents cost, whose writes are saved, which culprits are named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Final

from msgspec import structs

from loadtests.replay.prompt_caches import Ask, Choice, Range, Ttl, runs, share
from loadtests.replay.traces import RECORDED_BLOCK
from policies.prefix_break import Prefixes, Seen
from policies.prefix_break import read as read_prompt
from policies.prompt_cache import Asked, PromptCaches
from pricing.prompt_caches import CacheRule, load, rule_of
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.prompt_caching import PromptCaching
from proxy.observed import Culprit
from tests.caches.row import Row, at_least, at_most, shown
from tests.prompts import KEY, TARGET, Json, asking, parts, provider_of, record_of, tool, wanted
from tests.proxy.providers.calls import StillClock
from tests.sim import virtual

SEED: Final = 7
MODEL: Final = "anthropic/claude-sonnet-4.5"
TOOLS: Final = [tool(f"tool_{at}", "x" * 200) for at in range(8)]
FANS, FAN = 50, 8
FIRST_S: Final = 1.5  # until a first event
BREAKS_OF_EACH, STEPS = 25, 8


def rows(folder: Path | None) -> Iterator[Row]:
    yield from costs(folder)
    yield from writes()
    yield from culprits()


# --- what agents cost


class Policy:
    """The gate's own choice. It is told what a prompt has in common with the one before, and no more."""

    def __init__(self, rule: CacheRule) -> None:
        self._rule = rule
        self._caches = PromptCaches()
        self._before: dict[tuple[str, int, str], tuple[Range, ...]] = {}
        self._call = asking([{"role": "user", "content": "x"}], tools=TOOLS)

    def __call__(self, ask: Ask) -> Ttl:
        run = f"{ask.run}/{ask.thread}"
        self._caches.began(run, ask.at)
        place = ask.run, ask.thread, ask.model
        before = self._before.get(place, ())
        kept = common(before, ask.ranges)
        self._before[place] = ask.ranges
        seen = Seen(kept or None, RECORDED_BLOCK * kept / ask.tokens)
        call = structs.replace(self._call, input_tokens_estimate=ask.tokens)
        return self._caches.ttl(Asked(call, run, None, seen), ask.model, self._rule, ask.at)


def costs(folder: Path | None) -> Iterator[Row]:
    recorded = runs(folder, SEED)
    rule = rule_of(load().of("openrouter.ai"), MODEL)
    assert rule is not None
    confirmed = structs.replace(rule, longer_ttl_covers_prefix=True)
    short = share(recorded, always("5m"), covers=False)
    long = share(recorded, always("1h"), covers=False)
    yield shown("agent sessions, of uncached: always 5 minutes", f"{short:.3f}")
    yield shown("agent sessions, of uncached: always 1 hour", f"{long:.3f}")
    yield at_most("agent sessions, of uncached: the policy", share(recorded, Policy(rule), covers=False), 0.192)
    covered = share(recorded, Policy(confirmed), covers=True)
    yield at_most("agent sessions, of uncached: the policy, a longer life covers the prefix", covered, 0.172)
    mistaken = share(recorded, Policy(confirmed), covers=False)
    yield shown("agent sessions, of uncached: the same where it does not, hence unconfirmed", f"{mistaken:.3f}")
    changed = sum(own_markers_changed(recorded_run) for recorded_run in recorded[:40])
    yield at_most("calls with the client's own markers whose bytes or cost change", changed, 0, digits=0)


def always(ttl: Ttl) -> Choice:
    return lambda ask: ttl


def own_markers_changed(run: Sequence[Ask]) -> int:
    """A client that marks its newest message itself, call by call through policy and dialect."""
    caches, changed, rule = PromptCaches(), 0, rule_of(load().of("openrouter.ai"), MODEL)
    assert rule is not None
    marked = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]
    for ask in run[:20]:
        call = asking([{"role": "user", "content": marked}], tools=TOOLS, tokens=ask.tokens)
        caches.began(ask.run, ask.at)
        hints = caches.advise(Asked(call, ask.run), ask.model, rule, ask.at).hints
        sent = OpenAI().write(structs.replace(call, hints=hints), TARGET)
        changed += sent != call.raw
    return changed


def common(before: Sequence[Range], ranges: Sequence[Range]) -> int:
    """Blocks at the beginning of both."""
    same = 0
    for (first, last), (other_first, other_last) in zip(before, ranges, strict=False):
        if first != other_first:
            return same
        same += min(last, other_last) + 1 - first
        if last != other_last:
            return same
    return same


# --- siblings


def writes() -> Iterator[Row]:
    """Fans of sub-agents that share a new prefix: of the writes beyond the first of each, how many are left."""
    free, gated = virtual.run(duplicates(gate=False)), virtual.run(duplicates(gate=True))
    yield shown("siblings with one new prefix: duplicate writes without the gate", str(free))
    yield at_least("siblings with one new prefix: share of duplicate writes saved", 1 - gated / free, 0.9)


async def duplicates(*, gate: bool) -> int:
    """Of fans of agents that begin within a second: how often a prefix was written that another had written, or was
    about to. A prefix can be read from the first event of whoever wrote it."""
    caching, rng = PromptCaching(StillClock()), Random(SEED)
    readable: dict[int, float] = {}
    written = [0]
    sold = wanted(provider_of(KEY))

    async def one(fan: int, child: int, begins_s: float) -> None:
        await asyncio.sleep(begins_s)
        front = {"role": "system", "content": f"fan {fan} " + "s" * 40_000}
        call = asking([front, {"role": "user", "content": f"part {child}"}], tokens=10_000, run=f"{fan}/{child}")
        record, lead = record_of(call), None
        if gate:
            asked = caching.look(record, sold)
            assert asked is not None
            lead = await caching.turn(record, asked, sold)
        loop = asyncio.get_running_loop()
        if readable.get(fan, loop.time() + 1) > loop.time():
            written[0] += 1
        first_s = FIRST_S * rng.lognormvariate(0, 0.3)
        readable.setdefault(fan, loop.time() + first_s)
        await asyncio.sleep(first_s)
        caching.written(lead)

    begins = [(fan, child, 10.0 * fan + rng.random()) for fan in range(FANS) for child in range(FAN)]
    await asyncio.gather(*(one(*each) for each in begins))
    return written[0] - FANS


# --- culprits

Spoil = Callable[[Json, Random], None]


def culprits(of_each: int = BREAKS_OF_EACH) -> Iterator[Row]:
    """Each of the known ways to break a prefix, put into a run that grows, and what the report says of it."""
    named = total = 0
    for culprit, spoil in SPOILS.items():
        found = [spoiled(culprit, spoil, Random(f"{SEED}/{culprit}/{at}")) for at in range(of_each)]
        named, total = named + sum(found), total + len(found)
    yield at_least(f"injected prefix breaks named, of {total}", named / total, 1.0)
    yield at_most(
        "prefix breaks reported of runs without one", sum(unspoiled(at) for at in range(2 * of_each)), 0, digits=0
    )


def body_of(rng: Random, turns: int) -> Json:
    """An agent's request after so many turns; the same for the same random source."""
    clock = {"role": "system", "content": "It is 2026-11-22T10:00:00Z. " + _text(rng, 6_000)}
    messages: list[Json] = [clock]
    for turn in range(turns):
        messages.append({"role": "user" if turn == 0 else "tool", "content": _text(rng, 1_500)})
        messages.append({"role": "assistant", "content": parts(_text(rng, 500))})
    tools = [tool(f"tool_{at}", _text(rng, 200)) for at in range(6)]
    return {"messages": messages[:-1], "tools": tools, "tool_choice": "auto", "reasoning_effort": "low"}


def spoiled(culprit: Culprit, spoil: Spoil, rng: Random) -> bool:
    """Whether the one break of a run is named, by kind and place, and nothing before and after it is."""
    whole, prefixes, at = body_of(rng, STEPS), Prefixes(), rng.randrange(2, STEPS - 1)
    said: list[tuple[int, Culprit]] = []
    for step in range(1, STEPS + 1):
        body = deepcopy(_grown(whole, step))
        if step >= at:
            spoil(body, Random(at))
        seen = _look(prefixes, body)
        if seen.broke is not None:
            said.append((step, seen.broke.culprit))
    return said == [(at, culprit)]


def unspoiled(at: int) -> int:
    prefixes, whole = Prefixes(), body_of(Random(at), STEPS)
    return sum(_look(prefixes, _grown(whole, step)).broke is not None for step in range(1, STEPS + 1))


def _grown(whole: Json, step: int) -> Json:
    """A run's last request, cut where its `step` was."""
    return {**whole, "messages": _messages(whole)[: 2 * step]}


def _look(prefixes: Prefixes, body: Json) -> Seen:
    messages, rest = body["messages"], {name: value for name, value in body.items() if name != "messages"}
    assert isinstance(messages, list)
    call = asking(messages, more=rest, tokens=10_000)
    prompt = read_prompt(call)
    assert prompt is not None
    return prefixes.look("run", call, prompt)


def _text(rng: Random, length: int) -> str:
    return "".join(rng.choices("abcdefgh ijklmnop 0123456789", k=length))


def _messages(body: Json) -> list[Json]:
    found = body["messages"]
    assert isinstance(found, list)
    return found


def _tools(body: Json) -> list[Json]:
    found = body["tools"]
    assert isinstance(found, list)
    return found


def _new_clock(body: Json, rng: Random) -> None:
    front = _messages(body)[0]
    front["content"] = str(front["content"]).replace("10:00:00", f"10:{rng.randrange(10, 60)}:{rng.randrange(10, 60)}")


def _new_words(body: Json, rng: Random) -> None:
    front = _messages(body)[0]
    front["content"] = f"Also: {_text(rng, 20)}\n{front['content']}"


def _new_message(body: Json, rng: Random) -> None:
    _messages(body)[1]["content"] = _text(rng, 300)


def _shuffled(body: Json, rng: Random) -> None:
    tools = _tools(body)
    tools[:] = tools[1:] + tools[:1]


def _new_tool(body: Json, rng: Random) -> None:
    _tools(body).insert(rng.randrange(6), tool("another", _text(rng, 100)))


def _choice(body: Json, rng: Random) -> None:
    body["tool_choice"] = "required"


def _setting(body: Json, rng: Random) -> None:
    body["reasoning_effort"] = "high"


def _model(body: Json, rng: Random) -> None:
    body["model"] = "another"


SPOILS: Final[dict[Culprit, Spoil]] = {
    "clock": _new_clock,
    "system": _new_words,
    "message": _new_message,
    "tool_order": _shuffled,
    "tools": _new_tool,
    "tool_choice": _choice,
    "setting": _setting,
    "model": _model,
}
