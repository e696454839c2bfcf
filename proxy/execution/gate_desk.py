"""Calls before the gates of pools: who goes on at once, who waits for how long, and who is told that it was in vain.

One desk for all processes of a gate: a run is let in once, whichever of them its calls arrive at. Which runs go on is
`policies.run_gate`'s word; here calls wait for it, each until its own time is up. One timer looks after idle runs while
anybody waits. A call that went on is over when its outcome is made (`gating`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from policies.gate_line import Ask, Run
from policies.run_gate import GateRules, RunGate
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.state.gate_report import GateRow

ANSWER_S: Final = 0.1  # kept of a call's time, so that it is told why it has waited in vain
GLANCE_S: Final = 0.001  # timers are no finer
AGAIN_LEAST_S: Final = 1.0


class Pool(Struct, frozen=True):
    """Targets whose memory a gate looks after. `kv_tokens`: all of it; None: nobody knows."""

    name: str
    targets: frozenset[str]
    kv_tokens: int | None
    rules: GateRules


class Waits(Protocol):
    """Is told of each call that has waited, and which gates there are to be asked. Must not wait."""

    def watch(self, pools: Iterable[str], gates: GateDesk) -> None: ...

    def ended(self, pool: str, waited_s: float) -> None: ...


class Pass(Struct, frozen=True):
    """Leave to go on, until it is given back. `said`: what its call had to wait for; empty: for nothing."""

    number: int
    said: str = ""


class GateDesk:
    def __init__(self, pools: Iterable[Pool], clock: Clock, waits: Waits) -> None:
        self.turned_away = 0  # because too many waited
        self._clock = clock
        self._waits = waits
        self._gates: dict[str, RunGate] = {}
        self._turns: dict[str, dict[Run, list[asyncio.Future[None]]]] = {}  # of those that wait, by pool
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._passes: dict[int, tuple[str, RunGate, Run]] = {}
        self._numbers = 0
        self.use(pools)

    def __repr__(self) -> str:
        return f"GateDesk({self._gates}, {len(self._passes)} go on)"

    def use(self, pools: Iterable[Pool]) -> None:
        """From now on. Whoever waits at a gate that is gone goes on."""
        wanted = {pool.name: pool for pool in pools}
        for name in [name for name in self._gates if name not in wanted]:
            self._open(name)
        for name, pool in wanted.items():
            gate = self._gates.get(name)
            if gate is None:
                self._gates[name], self._turns[name] = RunGate(pool.rules, pool.kv_tokens), {}
            else:
                gate.replace(pool.rules, pool.kv_tokens)
                self._serve(name)
        self._waits.watch(wanted, self)

    @property
    def passes(self) -> int:
        """Calls that go on."""
        return len(self._passes)

    def rows(self) -> list[GateRow]:
        return [_row(name, gate) for name, gate in self._gates.items()]

    def runs(self, pool: str, state: str) -> int:
        gate = self._gates.get(pool)
        return 0 if gate is None else {"active": gate.active, "waiting": gate.queued, "parked": gate.parked}[state]

    def in_use(self, pool: str) -> float:
        gate = self._gates.get(pool)
        return 0.0 if gate is None else gate.in_use

    def limit(self, pool: str) -> float:
        gate = self._gates.get(pool)
        return 0.0 if gate is None else gate.limit.size

    async def enter(self, pool: str, ask: Ask, left_s: float) -> Pass:
        """Waits for as long as may be; `left_s` of the call's time. Whoever gets a pass gives it back. Raises
        ProxyError."""
        gate, now = self._gates.get(pool), self._clock.now()
        if gate is None:
            return Pass(0)
        if len(self._gates) > 1 and any(_is_in(other, ask, now) for other in self._gates.values() if other is not gate):
            ask = replace(ask, free=True)
        run = gate.enter(ask, now)
        if run is None:
            self.turned_away += 1
            raise _too_many(pool, gate)
        if run.state != "active":
            return await self._in_line(pool, run, left_s - ANSWER_S)
        self._go(pool, run, now)
        if gate.waiting:
            self._serve(pool)  # its coming may have shown that others are idle
        return self._passed(pool, gate, run)

    def ended(self, number: int, *, input_tokens: int, cached_tokens: int | None) -> None:
        """The call of a pass is over. The second time: nothing."""
        passed = self._passes.pop(number, None)
        if passed is not None:
            pool, gate, run = passed
            gate.ended(run, self._clock.now(), input_tokens=input_tokens, cached_tokens=cached_tokens)
            self._freed(pool, gate)

    def killed(self, number: int) -> None:
        """The call of a pass is over, and its run with it."""
        passed = self._passes.pop(number, None)
        if passed is not None:
            pool, gate, run = passed
            gate.ended(run, self._clock.now(), input_tokens=0, cached_tokens=None)
            gate.finish(run)
            self._freed(pool, gate)

    def over(self, runs: Container[str]) -> None:
        """Runs of these names were killed: they count no more, also those without a call."""
        for pool, gate in self._gates.items():
            gate.killed(runs)
            self._freed(pool, gate)

    # --- waiting -------------------------------------------------------------------------------------------------

    async def _in_line(self, pool: str, run: Run, patience_s: float) -> Pass:
        gate, now = self._gates[pool], self._clock.now()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns[pool].setdefault(run, []).append(turn)
        before = "its run was parked" if run.state == "parked" else "its run waited to begin"
        try:
            self._serve(pool)  # its coming may have shown that others are idle
            expected_s = gate.wait_s(run, now)
            if expected_s > patience_s and not turn.done():
                raise _in_vain(pool, gate, expected_s)
            async with asyncio.timeout(max(patience_s, 0.0)):
                await turn
        except TimeoutError:
            if not turn.done() or turn.cancelled():
                raise _in_vain(pool, gate, gate.wait_s(run, self._clock.now())) from None
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it could have gone on just then
                gate.ended(run, self._clock.now(), input_tokens=0, cached_tokens=None)
            raise
        finally:
            self._waits.ended(pool, self._clock.now() - now)
            self._leave(pool, run, turn)
        return self._passed(pool, gate, run, f"{before} for {self._clock.now() - now:.1f} s at the gate of {pool!r}")

    def _leave(self, pool: str, run: Run, turn: asyncio.Future[None]) -> None:
        """Of a call that was let go on: nothing."""
        turns = self._turns.get(pool, {})
        if turn in turns.get(run, ()):
            turns[run].remove(turn)
            if not turns[run]:
                del turns[run]
            self._gates[pool].gave_up(run)
            self._serve(pool)  # it may have stood before others that fit

    def _passed(self, pool: str, gate: RunGate, run: Run, said: str = "") -> Pass:
        self._numbers += 1
        self._passes[self._numbers] = (pool, gate, run)
        return Pass(self._numbers, said)

    def _freed(self, pool: str, gate: RunGate) -> None:
        if gate.waiting and self._gates.get(pool) is gate:
            self._serve(pool)

    def _serve(self, pool: str) -> None:
        """Lets all go on that may."""
        now = self._clock.now()
        for run in self._gates[pool].admit(now):
            self._go(pool, run, now)
        self._watch(pool)

    def _go(self, pool: str, run: Run, now: float) -> None:
        """A run that was let in waits no more: neither here, beside the call that let it in, nor elsewhere."""
        self._call_up(pool, run, now)
        for other, gate in self._gates.items():
            released = gate.release(run.id, now) if gate.waiting else None
            if released is not None:
                self._call_up(other, released, now)

    def _call_up(self, pool: str, run: Run, now: float) -> None:
        for turn in self._turns[pool].pop(run, ()):
            if turn.done():  # its call was cancelled just now
                self._gates[pool].ended(run, now, input_tokens=0, cached_tokens=None)
            else:
                turn.set_result(None)

    def _watch(self, pool: str) -> None:
        """The next look at who is idle, if anybody waits for that."""
        timer = self._timers.pop(pool, None)
        if timer is not None:
            timer.cancel()
        gate = self._gates[pool]
        due_at = gate.due_at() if gate.waiting else None
        if due_at is not None:
            wait_s = max(due_at - self._clock.now(), GLANCE_S)
            self._timers[pool] = asyncio.get_running_loop().call_later(wait_s, self._serve, pool)

    def _open(self, pool: str) -> None:
        """A gate that is taken away."""
        del self._gates[pool]
        timer = self._timers.pop(pool, None)
        if timer is not None:
            timer.cancel()
        for turns in self._turns.pop(pool).values():
            for turn in turns:
                if not turn.done():
                    turn.set_result(None)


def _is_in(gate: RunGate, ask: Ask, now: float) -> bool:
    """Held elsewhere as well it would keep its place here, maybe from one that waits for it there."""
    return gate.holds(ask.run, now) or any(gate.lets_in(id) for id in ask.above)


def _row(pool: str, gate: RunGate) -> GateRow:
    limit, known = gate.limit, gate.kv_tokens is not None
    return GateRow(
        pool=pool,
        unit="tokens" if known else "runs",
        active=gate.active,
        in_use=gate.in_use,
        limit=limit.size,
        share=limit.share if known else None,
        cached_share=limit.seen,
        waiting=gate.queued,
        parked=gate.parked,
        calls=gate.waiting,
    )


def described(pool: str, gate: RunGate) -> str:
    unit = "runs" if gate.kv_tokens is None else "tokens"
    return f"{gate.active} runs are active in the pool {pool!r}, {gate.in_use:.0f} of {gate.limit.size:.0f} {unit}"


def _too_many(pool: str, gate: RunGate) -> ProxyError:
    message = f"{gate.waiting} calls wait for the runs before them: {described(pool, gate)}."
    return ProxyError("run_gate_full", message, retry_after_s=AGAIN_LEAST_S)


def _in_vain(pool: str, gate: RunGate, expected_s: float) -> ProxyError:
    message = f"The call's time would be over before its run could go on: {described(pool, gate)}."
    return ProxyError("run_gate_timeout", message, retry_after_s=max(AGAIN_LEAST_S, expected_s))
