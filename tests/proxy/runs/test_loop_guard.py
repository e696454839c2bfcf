"""Trails are kept for some runs, read anew for others, and what a step usually costs is learned of each agent."""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec import structs

from policies.loops import LoopRules
from policies.runs import Run
from proxy.dialects.json_body import top_level
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.observed import Looped
from proxy.runs.loop_guard import AGENTS_MAX, SAMPLES_LEAST, LoopGuard
from proxy.types import Attempt, Head, Identity
from tests import build
from tests.sim.gate import SmallGate

ON = LoopRules("on")


class Guarded:
    def __init__(self, trails_max: int = 4_096) -> None:
        self.gate = SmallGate()
        self.guard = LoopGuard(self.gate.clock, OpenAI(), trails_max=trails_max)

    def record(self, run: str, results: Sequence[str], agent: str = "a") -> Record:
        messages: list[object] = [{"role": "user", "content": "go"}]
        for number, result in enumerate(results):
            made = {"id": f"{number}", "function": {"name": "search", "arguments": "{}"}}
            messages += [{"role": "assistant", "tool_calls": [made]}]
            messages += [{"role": "tool", "tool_call_id": f"{number}", "content": result}]
        raw = json.dumps({"model": "m", "messages": messages}).encode()
        identity = Identity("k", agent, run=run)
        call = structs.replace(build.call(identity=identity), raw=raw, head=Head("m", fields=top_level(raw)))
        return Record(call, Purse(self.gate.store, "c", (), 60.0))

    def look(self, run: str, results: Sequence[str], rules: LoopRules = ON) -> Looped | None:
        return self.guard.look(self.record(run, results), Run(run, (), 0.0, None), rules)

    def cost(self, run: str, usd_nanos: int | None, agent: str = "a", cause: str = "") -> None:
        call = structs.replace(self.record(run, (), agent).call, cause=cause)
        attempt = Attempt(1, "first", build.target(), 0.0, 1.0, "success", cost_usd_nanos=usd_nanos)
        self.guard.spent(call, run, (attempt,))


async def test_a_run_that_was_forgotten_is_read_anew() -> None:
    guarded = Guarded(trails_max=1)
    steps: list[str] = []
    for _ in range(5):
        steps.append("none")
        found = guarded.look("one", steps)
        guarded.look("other", [])
    assert found == Looped("repeat", 4, 1, "search")
    assert repr(guarded.guard) == "LoopGuard(1 runs, 0 agents)"


async def test_steps_that_no_request_tells_any_more_do_not_count() -> None:
    guarded = Guarded()
    assert guarded.look("one", ["none"] * 5) is not None
    assert guarded.look("one", ["none"]) is None  # its conversation was cut down


async def test_other_polling_tools_judge_all_of_it_anew() -> None:
    guarded = Guarded()
    assert guarded.look("one", ["none"] * 4) is not None
    assert guarded.look("one", ["none"] * 5, LoopRules("on", frozenset({"search"}))) is None
    assert guarded.look("one", ["none"] * 5) == Looped("repeat", 4, 1, "search")


async def test_what_steps_cost_is_learned_of_each_agent_by_itself() -> None:
    guarded = Guarded()
    guarded.look("quiet", [])
    for _ in range(SAMPLES_LEAST):
        guarded.cost("quiet", 100_000)
    guarded.look("run", [])
    for cost in [100_000] * 6 + [900_000] * 2:
        guarded.cost("run", cost)
    assert guarded.look("run", []) == Looped("spend", 2, 1)
    guarded.look("foreign", [])
    for cost in [100_000] * 6 + [900_000] * 4:
        guarded.cost("foreign", cost, agent="b")
    record = guarded.record("foreign", [], agent="b")
    assert guarded.guard.look(record, Run("foreign", (), 0.0, None), ON) is None  # nobody knows what b usually costs


async def test_a_runaway_does_not_teach_that_its_steps_are_usual() -> None:
    guarded = Guarded()
    guarded.look("quiet", [])
    for _ in range(SAMPLES_LEAST):
        guarded.cost("quiet", 100_000)
    for number in range(20):
        guarded.look(f"run{number}", [])
        for cost in [100_000] * 6 + [900_000] * 4:
            guarded.cost(f"run{number}", cost)
        assert guarded.look(f"run{number}", []) == Looped("spend", 4, 1)


async def test_what_is_no_step_of_a_run_costs_it_nothing() -> None:
    guarded = Guarded()
    guarded.cost("never seen", 1_000)
    guarded.look("run", [])
    for usd_nanos, cause in ((None, ""), (0, ""), (1_000, "another call")):
        guarded.cost("run", usd_nanos, cause=cause)
    assert repr(guarded.guard) == "LoopGuard(1 runs, 0 agents)"


async def test_agents_that_are_remembered_are_bounded() -> None:
    guarded = Guarded()
    guarded.look("run", [])
    for number in range(AGENTS_MAX + 5):
        guarded.cost("run", 1_000, agent=f"a{number}")
    assert repr(guarded.guard) == f"LoopGuard(1 runs, {AGENTS_MAX} agents)"


async def test_a_client_without_time_is_not_made_to_wait_longer() -> None:
    guarded = Guarded()
    record = guarded.record("one", ["none"] * 4)
    now = guarded.gate.clock.now()
    record.call = structs.replace(record.call, deadline=now + 0.5)
    assert await guarded.guard.admit(record, Run("one", (), 0.0, None), ON) is None
    assert record.loop is not None
    assert record.loop.action == "throttle"
    assert guarded.gate.clock.now() == now + 0.5
