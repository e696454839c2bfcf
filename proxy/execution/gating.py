"""The one place where calls are let in by the gate of their pool, and give their pass back when they have ended.

A call stands before the gate whose pool its plan begins with; what follows an error, and the members of a panel, are
not asked again. It holds nothing while it waits but its place among the calls of its run: no money, no permit. What it
tells the gate comes from its one outcome: the prompt that was answered, and how much of it came out of a cache. A
target that has never reported such a part teaches nothing. Whether a run goes on is `policies.run_gate`'s word.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from policies.gate_line import Ask
from policies.tiers import TIERS
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.execution.gate_desk import Pass, Pool
from proxy.execution.line import Progress
from proxy.execution.running import Running
from proxy.tenancy import run_id
from proxy.types import Attempt, Outcome, Plan


class Desk(Protocol):
    """`gate_desk.GateDesk`, or its voice in another process."""

    async def enter(self, pool: str, ask: Ask, left_s: float) -> Pass: ...

    def ended(self, number: int, *, input_tokens: int, cached_tokens: int | None) -> None: ...

    def killed(self, number: int) -> None: ...


async def ungated(running: Running, plan: Plan) -> None:
    """Where no pool has a gate."""


class Gating:
    def __init__(self, desk: Desk, clock: Clock, progress: Progress) -> None:
        """`progress`: answers that a run has had."""
        self._desk = desk
        self._clock = clock
        self._progress = progress
        self._pools: dict[str, str] = {}  # by target
        self._passes: dict[str, int] = {}  # by call
        self._reporting: set[str] = set()  # targets that say how much of a prompt came out of a cache

    def __repr__(self) -> str:
        return f"Gating({sorted(set(self._pools.values()))}, {len(self._passes)} passes)"

    def use(self, pools: Iterable[Pool]) -> None:
        """From now on; passes that were given stay good."""
        self._pools = {target: pool.name for pool in pools for target in pool.targets}

    async def enter(self, running: Running, plan: Plan) -> None:
        """Waits until the call's run may go on, within the call's time. Raises ProxyError."""
        pool = self._pools.get(plan.steps[0][0].id) if self._pools and plan.steps else None
        if pool is None:
            return
        record, call, came = running.record, running.record.call, self._clock.now()
        try:
            given = await self._desk.enter(pool, self._ask(running), call.deadline - came)
        except ProxyError as error:
            if error.code.startswith("run_gate"):
                record.decided(self._clock.now(), f"not let in: {error.message}")
            raise
        finally:
            now = self._clock.now()
            record.upstream_s += now - came  # the wait is the engines' doing, not the gate's overhead
            record.spent("queue", f"run gate of {pool}", came, now)
        self._passes[call.id] = given.number
        if given.said:
            record.decided(self._clock.now(), given.said)

    def observe(self, outcome: Outcome) -> None:
        """A call has ended, whether it stood before a gate or not."""
        number = self._passes.pop(outcome.call.id, None) if self._passes else None
        if number is None:
            return
        if outcome.error_code == "run_killed":
            self._desk.killed(number)
            return
        answered = next((each for each in reversed(outcome.attempts) if self._teaches(each)), None)
        usage = answered.usage if answered is not None else None
        if answered is None or usage is None:
            self._desk.ended(number, input_tokens=0, cached_tokens=None)
            return
        if usage.input_cached and usage.source == "reported":
            self._reporting.add(answered.target.id)
        says = usage.source == "reported" and answered.target.id in self._reporting
        cached = usage.input_cached if says else None
        self._desk.ended(number, input_tokens=usage.input_total, cached_tokens=cached)

    def _teaches(self, attempt: Attempt) -> bool:
        return attempt.lesson == "success" and attempt.usage is not None and attempt.target.id in self._pools

    def _ask(self, running: Running) -> Ask:
        call, run, who = running.record.call, running.run, running.record.call.identity
        return Ask(
            run=run_id(f"key:{who.key_id}", "") if run is None else run.id,
            agent=who.agent,
            tier=TIERS[call.priority],
            tokens=call.input_tokens_estimate,
            steps=self._progress(who),
            above=() if run is None else tuple([each.id for each in run.lineage[:-1]]),
            named=run is not None,
        )
