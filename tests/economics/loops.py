"""Injected loops, what they go on to cost with and without the loop guard, and runs that only look like loops.

Conversations go through the whole gate, request by request, each with all that was before. A loop that nobody stops
goes on to `LOOP_STEPS` steps, as a framework's own limit has it. The recorded sessions have no content, so they are
judged by what their steps cost; what they did is made up here: polling, retries, children, edits and their tests.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from time import process_time
from typing import Final

from msgspec import Struct, structs

from loadtests.replay.traces import RecordedCall, sessions
from policies.loops import LoopRules
from policies.runs import Run
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.snapshot import AgentRules
from proxy.types import Attempt, Call, Identity
from tests import build
from tests.build import PRICE
from tests.economics.row import Row, at_least, at_most, shown
from tests.sim.client import Wire
from tests.sim.gate import SmallGate
from tests.sim.virtual import run

LOOP_STEPS: Final = 100
BEFORE_MAX: Final = 12  # honest steps before a loop begins
SEEDS: Final = 10
ON: Final = AgentRules(loops=LoopRules("on", frozenset({"wait"})))
CACHED: Final = 0.1  # of the price of input
ASKED_AGAIN_MAX: Final = 3

WORDS = tuple(f"{first}{rest}" for first in ("ba", "de", "ki", "lo", "mu", "ra", "so", "ti") for rest in
              ("ber", "con", "dal", "fer", "gon", "lem", "mis", "nor", "pan", "res", "sil", "tor"))  # fmt: skip


class Use(Struct, frozen=True):
    """One step of an agent: what it wrote, the tool it asked for, and what came back."""

    text: str = ""
    tool: str = ""
    arguments: str = "{}"
    result: str = ""
    heard: str = ""  # instead of a result


Script = Callable[[Random], Iterable[Use]]


def words(rng: Random, count: int) -> str:
    return " ".join(rng.choices(WORDS, k=count))


def honest(rng: Random) -> Use:
    """A step that brings something new."""
    tool = rng.choice(("search", "read", "edit"))
    return Use(words(rng, 20), tool, json.dumps({"q": words(rng, 4)}), words(rng, rng.choice((5, 60))))


# --- loops -----------------------------------------------------------------------------------------------------------


def periodic(period: int) -> Script:
    def steps(rng: Random) -> Iterator[Use]:
        turn = [honest(rng) for _ in range(period)]
        while True:  # its caller stops
            for use in turn:
                yield structs.replace(use, text=words(rng, 20))  # it has something to say for it each time

    return steps


def retried(rng: Random) -> Iterator[Use]:
    """A tool that fails, asked again with other white space."""
    while True:
        arguments = json.dumps({"path": "a.txt", "mode": "r"}, indent=rng.choice((None, 1, 2)))
        yield Use("", "open", arguments, "error: no such file")


def drifting(rng: Random) -> Iterator[Use]:
    """Another count, another time, other searches; the same plan and no result."""
    plan = words(rng, 40)
    for number in range(10_000):
        text = f"{number}. {plan.capitalize()}{rng.choice('.!:')} ({rng.randint(0, 23)}:{rng.randint(10, 59)})"
        yield Use(text, "search", json.dumps({"q": words(rng, 3)}), "nothing found")


def talking(rng: Random) -> Iterator[Use]:
    """An agent that announces what it will do, and is told to go on."""
    plan = words(rng, 60)
    for number in range(10_000):
        yield Use(f"Step {number}: {plan}", heard="continue")


LOOPS: Final[dict[str, tuple[Script, int]]] = {
    **{f"period {period}": (periodic(period), period) for period in range(1, 7)},
    "a tool that fails, retried": (retried, 1),
    "drifting searches": (drifting, 1),
    "announcing": (talking, 1),
}

# --- what only looks like one ----------------------------------------------------------------------------------------


def polling(rng: Random) -> Iterator[Use]:
    for _ in range(rng.randint(10, 40)):
        yield Use("", "wait", '{"job":7}', "running")
    yield honest(rng)


def progressing(rng: Random) -> Iterator[Use]:
    """Polling of a tool that nobody has named, which tells how far it is."""
    for percent in range(0, 100, 5):
        yield Use("Still running, so I will look again in a while.", "status", '{"job":7}', f"{percent} % done")


def editing(rng: Random) -> Iterator[Use]:
    """A test that fails in the same way after each edit."""
    for number in range(12):
        yield Use("", "edit", json.dumps({"line": number, "text": words(rng, 5)}), "ok")
        yield Use("", "test", "{}", "1 failed")


def paging(rng: Random) -> Iterator[Use]:
    for page in range(20):
        yield Use("Reading the next page.", "list", json.dumps({"page": page}), words(rng, 30))


def rereading(rng: Random) -> Iterator[Use]:
    for _ in range(8):
        yield Use("", "read", '{"path":"plan.md"}', "the plan")
        for _ in range(rng.randint(1, 3)):
            yield honest(rng)


def form_letters(rng: Random) -> Iterator[Use]:
    """The same answer to other questions."""
    letter = words(rng, 60)
    for _ in range(20):
        yield Use(letter, heard=words(rng, 12))


def working(rng: Random) -> Iterator[Use]:
    for _ in range(60):
        yield honest(rng)


LOOKALIKES: Final[dict[str, Script]] = {
    "polling with a named tool": polling,
    "polling that tells of progress": progressing,
    "a test after each edit": editing,
    "paging": paging,
    "reading the plan again": rereading,
    "form letters": form_letters,
    "honest work": working,
}

# --- through the gate ------------------------------------------------------------------------------------------------


class Ran(Struct):
    steps: int = 0  # that were answered
    usd_nanos: int = 0
    refused: bool = False
    said: int = 0  # calls with the header


class Agent:
    """One conversation, resent with each call."""

    def __init__(self, gate: SmallGate, run: str) -> None:
        self._gate = gate
        self._run = run
        self._ran = Ran()
        self._messages: list[dict[str, object]] = [{"role": "user", "content": "the task"}]

    async def work(self, uses: Iterable[Use], *, times: int = 1) -> Ran:
        """`times`: how often each request is sent. Returns where it is refused."""
        for use in uses:
            self._tell(use)
            for _ in range(times):
                if not await self._ask():
                    return self._ran
        return self._ran

    def _tell(self, use: Use) -> None:
        id = f"call_{len(self._messages)}"
        called = [{"id": id, "type": "function", "function": {"name": use.tool, "arguments": use.arguments}}]
        self._messages.append(
            {"role": "assistant", "content": use.text or None, **({"tool_calls": called} if use.tool else {})}
        )
        if use.tool:
            self._messages.append({"role": "tool", "tool_call_id": id, "content": use.result})
        else:
            self._messages.append({"role": "user", "content": use.heard})

    async def _ask(self) -> bool:
        gate, wire = self._gate, Wire()
        raw = json.dumps({"model": "m", "max_tokens": 100, "messages": self._messages}).encode()
        identity = Identity(key_id="k", agent="a", run=self._run)
        record = await gate.pipeline.serve(structs.replace(gate.call(raw), identity=identity), wire, gate.snapshot)
        self._ran.said += record.loop is not None
        self._ran.refused = record.error is not None and record.error.code == "loop_detected"
        self._ran.steps += wire.status == 200
        # The upstream's own figures are made up; what a step costs grows with the conversation.
        self._ran.usd_nanos += len(raw) // 4 * PRICE.input_cached // 1_000 if wire.status == 200 else 0
        return not self._ran.refused


class Looped(Struct, frozen=True):
    repeats: int  # of the loop, before the call that was refused
    share: float  # of what it would have cost, spent
    refused: bool


async def _looped(script: Script, period: int, seed: int) -> Looped:
    rng = Random(seed)
    before = [honest(rng) for _ in range(rng.randint(0, BEFORE_MAX))]
    steps = script(rng)
    loop = [next(iter_) for iter_ in [iter(steps)] for _ in range(LOOP_STEPS)]
    spent: list[int] = []
    for rules in (ON, AgentRules(loops=LoopRules("off"))):
        gate = SmallGate(rules=rules)
        agent = Agent(gate, "r")
        prelude = (await agent.work(before)).usd_nanos
        ran = await agent.work(loop)
        spent.append(ran.usd_nanos - prelude)
        if rules is ON:
            # The refused call is not among the steps, but it brings the result of one more.
            repeats, refused = (ran.steps - len(before) + 1) // period - 1, ran.refused
    return Looped(repeats, spent[0] / spent[1], refused)


async def _lookalike(script: Script, seed: int) -> Ran:
    rng = Random(seed)
    return await Agent(SmallGate(rules=ON), "r").work(script(rng))


async def _children(seed: int, *, named: bool) -> list[Ran]:
    """That all do the same, step by step beside each other, in runs of their own or in one."""
    gate = SmallGate(rules=ON)
    agents = [Agent(gate, f"child {number}" if named else "r") for number in range(8)]
    uses = list(working(Random(seed)))[:15]
    for use in uses:
        ran = [await agent.work([use]) for agent in agents]
    return ran


async def _impatient(seed: int) -> Ran:
    """Clients that send each request several times."""
    rng = Random(seed)
    return await Agent(SmallGate(rules=ON), "r").work(list(working(rng))[:20], times=rng.randint(2, 6))


# --- the recorded sessions -------------------------------------------------------------------------------------------


def costs(calls: Sequence[RecordedCall], block: int) -> list[int]:
    """What each step costs in nano-dollars: what its prompt has in common with the one before is read from a cache."""
    found, before = [], set[int]()
    for call in calls:
        blocks = {id for first, last in call["blocks"] for id in range(first, last + 1)}
        cached = min(call["input"], block * len(blocks & before))
        before = blocks
        picos = (call["input"] - cached * (1 - CACHED)) * PRICE.input_uncached + call["output"] * PRICE.output * 2.5
        found.append(int(picos // 1_000))
    return found


async def _recorded(folder: Path) -> tuple[int, Counter[str]]:
    """Steps that were judged, and what would have been done."""
    gate, actions, steps = SmallGate(rules=ON), Counter[str](), 0
    for recorded in sessions(folder):
        below = [("sub-agent", child["calls"]) for child in recorded.get("children", ())]
        for number, (agent, calls) in enumerate([("agent", recorded["calls"]), *below]):
            actions.update(_judged(gate, f"{recorded['id']} {number}", agent, costs(calls, 64)))
            steps += len(calls)
    return steps, actions


def _judged(gate: SmallGate, id: str, agent: str, spent: Iterable[int]) -> Iterator[str]:
    of = Run(id, (), 0.0, None)
    identity = Identity(key_id="k", agent=agent, run=id)
    call = structs.replace(gate.call(b'{"model":"m","messages":[]}'), identity=identity)
    for cost in spent:
        looped = gate.loops.look(_record(gate, call), of, ON.loops)
        if looped is not None:
            yield {2: "annotated", 3: "throttled"}.get(looped.repeats, "refused")
        attempt = Attempt(1, "first", build.target(), 0.0, 1.0, "success", cost_usd_nanos=cost)
        gate.loops.spent(call, id, (attempt,))


def _record(gate: SmallGate, call: Call) -> Record:
    return Record(call, Purse(gate.store, call.id, (), 60.0))


# --- the rows --------------------------------------------------------------------------------------------------------


def rows(folder: Path | None) -> Iterator[Row]:
    shares = []
    for name, (script, period) in LOOPS.items():
        looped = [run(_looped(script, period, seed)) for seed in range(SEEDS)]
        shares += [each.share for each in looped]
        yield at_most(
            f"{name}: repeats before it was stopped, the most", max(each.repeats for each in looped), 4, digits=0
        )
        yield at_least("  loops stopped", sum(each.refused for each in looped) / SEEDS, 1.0)
    yield at_least(f"of what loops of {LOOP_STEPS} steps cost, saved", 1 - sum(shares) / len(shares), 0.8)
    for name, script in LOOKALIKES.items():
        ran = [run(_lookalike(script, seed)) for seed in range(SEEDS)]
        yield at_most(f"{name}: false stops", sum(each.refused for each in ran), 0, digits=0)
        yield shown(
            "  calls that were annotated", f"{sum(each.said for each in ran) / sum(each.steps for each in ran):.1%}"
        )
    same = [each for named in (True, False) for each in run(_children(1, named=named))]
    yield at_most("children that do the same: false stops", sum(each.refused for each in same), 0, digits=0)
    again = [run(_impatient(seed)) for seed in range(SEEDS)]
    yield at_most("requests sent several times: false stops", sum(each.refused for each in again), 0, digits=0)
    if folder is None:
        yield shown("recorded sessions", "skipped: there are none")
    else:
        steps, actions = run(_recorded(folder))
        told = f"{actions['annotated']} annotated, {actions['throttled']} throttled"
        yield at_most(f"recorded sessions, {steps:,} steps ({told}): false stops", actions["refused"], 0, digits=0)
    yield from _cost()


def _cost() -> Iterator[Row]:
    for turns in (20, 200):
        first, next_ = run(_look_us(turns))
        yield shown(
            f"a look at a conversation of {turns} turns: the first | each further", f"{first:.0f} | {next_:.0f} us"
        )


async def _look_us(turns: int) -> tuple[float, float]:
    """CPU of the first look at a run, and of one more turn; the best of some: others use the machine too."""
    rng, gate, agent = Random(1), SmallGate(rules=ON), None
    calls, messages = [], list[dict[str, object]]()
    agent = Agent(gate, "r")
    for use in [honest(rng) for _ in range(turns)]:
        agent._tell(use)
    messages = agent._messages
    for _ in range(40):
        agent._tell(honest(rng))
        raw = json.dumps({"model": "m", "messages": messages}).encode()
        calls.append(_record(gate, structs.replace(gate.call(raw), identity=Identity(key_id="k", agent="a", run="r"))))
    of, taken = Run("r", (), 0.0, None), []
    for record in calls:
        began = process_time()
        gate.loops.look(record, of, ON.loops)
        taken.append((process_time() - began) * 1e6)
    return taken[0], sorted(taken[1:])[len(taken) // 2]
