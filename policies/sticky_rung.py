"""At which rung of a cascade the next step of a run begins: where its last one was answered, until moving down pays.

A run that has climbed stays up for at least five steps, so that nothing flaps, and then goes down only where that
repays its price within the steps that are left: the whole prompt has to be written to the cache of the lower model
once more, where the present one would have read it. Half of the agent's runs that got as far as this one have had so
many more steps, with ten as a prior. Where the rung is no dearer than the bottom it never stays. Rungs change between
steps alone, upwards when an answer is not good enough. Near the end of a budget, when the plan is a cheaper one,
every step begins at the bottom. Whatever begins has no run to stay with: a learnt choice (`bandit`) may open it, else
it begins at the bottom.
"""

from __future__ import annotations

from typing import Final, Protocol

from policies.recent import Recent
from policies.stickiness import OUTPUT_TOKENS
from pricing.book import price_at
from proxy.tenancy import tenant
from proxy.types import Call, Plan

RUNS_MAX: Final = 8_192
AGENTS_MAX: Final = 1_024
STEPS_LEAST: Final = 5  # between two switches
STEPS_USUAL: Final = 10  # that are left, before runs of an agent were seen
STEPS_MAX: Final = 256  # that are told apart
PRIOR_RUNS: Final = 10.0
COLD_S: Final = 300.0  # after which no provider has the prompt any more
RUNS_COUNTED: Final = 1_000.0  # of an agent; then all count half


class Opening(Protocol):
    """Where a call begins that has no step before it."""

    def open(self, call: Call, plan: Plan) -> tuple[int, str]: ...


class Bottom:
    """Implements `Opening`."""

    def open(self, call: Call, plan: Plan) -> tuple[int, str]:
        return 0, ""


class _Run:
    __slots__ = ("rung", "steps", "switched", "used_at")

    def __init__(self) -> None:
        self.rung = 0
        self.steps = 0
        self.switched = 0  # after so many steps
        self.used_at = 0.0


class _Lengths:
    """How many runs of an agent got to which step."""

    __slots__ = ("_reached",)

    def __init__(self) -> None:
        self._reached = [PRIOR_RUNS * 0.5 ** (step / STEPS_USUAL) for step in range(STEPS_MAX + 1)]

    def reach(self, step: int) -> None:
        if step <= STEPS_MAX:
            self._reached[step] += 1
        if step == 1 and self._reached[1] > RUNS_COUNTED:
            self._reached = [count / 2 for count in self._reached]

    def left(self, step: int) -> int:
        """Steps that half of the runs still have that got to this one; who asks is there, and says nothing of it."""
        step = min(step, STEPS_MAX)
        reached = self._reached[step]
        half = max(reached - 1, reached / 2) / 2
        last = step
        while last < STEPS_MAX and self._reached[last + 1] >= half:
            last += 1
        return last - step


class StickyRung:
    """Implements `accept.FirstRung`; one a process."""

    def __init__(self, opening: Opening | None = None) -> None:
        self._opening = opening or Bottom()
        self._runs: Recent[tuple[str, str, str], _Run] = Recent(RUNS_MAX, _Run)
        self._lengths: Recent[str, _Lengths] = Recent(AGENTS_MAX, _Lengths)

    def __repr__(self) -> str:
        return f"StickyRung({len(self._runs)} runs)"

    def first(self, call: Call, plan: Plan, now: float) -> tuple[int, str]:
        if "cheaper" in plan.degraded:
            return 0, ""
        key = _key(call, plan)
        run = None if key is None else self._runs.find(key)
        if run is None:
            return self._opening.open(call, plan)
        top = min(run.rung, len(plan.members) - 1)
        if top == 0 or not _is_dearer(plan, top):
            return 0, ""
        here = run.steps - run.switched
        if here < STEPS_LEAST:
            return top, f"the run climbed {here} steps ago, and stays for {STEPS_LEAST}"
        left = self._lengths.get(call.identity.agent).left(run.steps)
        is_cold = now - run.used_at > COLD_S
        down = next((rung for rung in range(top) if _repays(call, plan, (top, rung), left, is_cold=is_cold)), top)
        return down, "" if down < top else f"moving down would not pay within the {left} steps that are left"

    def answered(self, call: Call, plan: Plan, rung: int, *, escalated: bool, now: float) -> None:
        key = _key(call, plan)
        if key is None:
            return
        run = self._runs.get(key)
        run.steps += 1
        run.used_at = now
        self._lengths.get(call.identity.agent).reach(run.steps)
        if rung != run.rung or (escalated and rung):  # also where it went down in vain
            run.rung, run.switched = rung, run.steps


def _key(call: Call, plan: Plan) -> tuple[str, str, str] | None:
    who = call.identity
    return None if who.run is None else (tenant(who), who.run, plan.model)


def _is_dearer(plan: Plan, rung: int) -> bool:
    """Than the bottom: a rung that is another try of the same model is nothing to stay at."""
    top, bottom = plan.members[rung].steps[0][0].price, plan.members[0].steps[0][0].price
    if top is None or bottom is None:
        return True
    return top.output > bottom.output or top.input_uncached > bottom.input_uncached


def _repays(call: Call, plan: Plan, rungs: tuple[int, int], left: int, *, is_cold: bool) -> bool:
    """Whether so many steps at the second rung save what it costs to leave the first. What has no price is left to
    the operator's order."""
    old, new = (plan.members[rung].steps[0][0].price for rung in rungs)
    if old is None or new is None:
        return True
    tokens = call.input_tokens_estimate
    above, below = price_at(old, tokens), price_at(new, tokens)
    saved = (
        tokens * (above.input_cached - below.input_cached) + OUTPUT_TOKENS * (above.output - below.output)
    ) * left  # picodollars, of steps whose prompt is in the cache
    write = max(below.input_uncached, below.input_cache_write_5m)
    return saved > (0 if is_cold else tokens * (write - below.input_cached))
