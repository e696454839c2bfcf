"""Where the trails of runs are kept, and a run that goes round in circles is slowed down or refused.

What a circle is, is decided by `policies.loops`; here a request is read as far as it is new, and the latest steps of
some thousand runs are remembered, as digests. A run that was forgotten is read anew from its next request, which holds
all that was before. Nothing but digests is kept, so nothing of it can be told to anybody.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from msgspec import structs

from policies.loops import THROTTLE_S, LoopRules, Trail, action_of, in_words, loop_detected, step_of
from policies.quantiles import Quantiles
from policies.recent import Recent
from policies.runs import Run
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.record import Record
from proxy.observed import Looped, Mark
from proxy.tenancy import run_name
from proxy.types import Attempt, Call

TRAILS_MAX: Final = 4_096
AGENTS_MAX: Final = 1_024
SAMPLES_LEAST: Final = 200  # steps of an agent before its dear ones are known
RARE: Final = 0.99
UNIT_NANOS: Final = 1_000_000  # sketches reach from a thousandth to a thousand: here of a thousandth of a dollar


class _Watched:
    __slots__ = ("mark", "polling", "trail")

    def __init__(self, polling: frozenset[str]) -> None:
        self.trail = Trail()
        self.mark: Mark | None = None
        self.polling = polling


class LoopGuard:
    def __init__(self, clock: Clock, dialect: Dialect, *, trails_max: int = TRAILS_MAX) -> None:
        self._clock = clock
        self._dialect = dialect
        self._trails_max = trails_max
        self._watched: OrderedDict[str, _Watched] = OrderedDict()  # by run, the longest unused first
        self._costs: Recent[str, Quantiles] = Recent(AGENTS_MAX, Quantiles)  # of steps, by agent

    def __repr__(self) -> str:
        return f"LoopGuard({len(self._watched)} runs, {len(self._costs)} agents)"

    async def admit(self, record: Record, run: Run, rules: LoopRules) -> ProxyError | None:
        """Says on the record what it has found. Waits, where the run is to be slowed down."""
        looped = self.look(record, run, rules)
        if looped is None:
            return None
        run.loops += 1
        action = action_of(looped.repeats, rules.mode, allowed=record.call.loop_allowed)
        record.loop = looped = structs.replace(looped, action=action)
        record.decided(self._clock.now(), f"its run goes round in circles ({action}): {in_words(looped)}")
        if action == "refuse":
            return loop_detected(looped, run_name(run.id))
        if action == "throttle":
            await asyncio.sleep(max(0.0, min(THROTTLE_S, record.call.deadline - self._clock.now())))
        return None

    def look(self, record: Record, run: Run, rules: LoopRules) -> Looped | None:
        """The strongest sign of a circle after what the request adds to the trail of its run."""
        watched = self._of(run.id, rules.polling)
        read = self._dialect.turns(record.call, watched.mark)
        if not read.known and read.mark.end:
            watched.trail.forget()
        if read.mark.end:
            watched.mark = read.mark
        for turn in read.turns:
            step = step_of(turn, rules.polling)
            if step is not None:
                watched.trail.add(step)
        return watched.trail.found(self._bound(record.call.identity.agent, watched.trail))

    def spent(self, call: Call, run: str, attempts: Iterable[Attempt]) -> None:
        """What a step of a run has cost, now that it has ended."""
        cost = sum([attempt.cost_usd_nanos or 0 for attempt in attempts])
        watched = self._watched.get(run)
        if watched is None or call.cause or not cost:
            return
        watched.trail.spent(cost)
        if not watched.trail.last_dear:  # a runaway must not teach that its steps are usual
            self._costs.get(call.identity.agent).add(cost / UNIT_NANOS, self._clock.now())

    def _of(self, run: str, polling: frozenset[str]) -> _Watched:
        watched = self._watched.get(run)
        if watched is None or watched.polling != polling:
            watched = self._watched[run] = _Watched(polling)
            if len(self._watched) > self._trails_max:
                self._watched.popitem(last=False)
        self._watched.move_to_end(run)
        return watched

    def _bound(self, agent: str, trail: Trail) -> float | None:
        """What hardly any step of the agent costs; asked only where the last step was dear for its run."""
        costs = self._costs.find(agent)
        if costs is None or not trail.last_dear or costs.added < SAMPLES_LEAST:
            return None
        rare = costs.quantile(RARE)
        return None if rare is None else rare * UNIT_NANOS
