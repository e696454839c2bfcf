"""Calls that are part of an experiment: what each of them adds to what is known of its arm, and the shadows.

A call is looked at when it has ended, with all that was spent because of it. In a shadow experiment the candidate is
asked what the control has just answered: a call of its own in the batch tier, on behalf of the same agent and run, as
long as the experiment's dollars of the day last; only pairs count, and of each the score is whether both say the same,
where that can be told. In a split scores come from feedback. What follows from it is computed elsewhere, of all
processes together; nothing here changes who is served what.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec import structs

from policies.daily_budget import DailyBudget
from policies.experiment import Sample
from policies.plan import Routes
from policies.recent import Recent
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.asking import Asks
from proxy.execution.given import Feedback, Word
from proxy.execution.record import Record
from proxy.execution.shadowing import SHADOW_S, agree
from proxy.observed import Arm
from proxy.snapshot import Snapshot
from proxy.tasks import Tasks
from proxy.tenancy import run_of
from proxy.types import Call, Outcome

CALLS_MAX: Final = 20_000  # of which something may still be heard
RUNS_MAX: Final = 4_096
STEPS_MAX: Final = 256  # of one run, the latest
EXPERIMENTS_MAX: Final = 1_024
COMPARED: Final = frozenset({"chat", "completions", "responses"})
NOT_THE_ARMS: Final = frozenset({"client", "policy"})  # whose error says nothing about who answers

Tell = Callable[[str, Sample], None]


def untold(experiment: str, sample: Sample) -> None:
    """For those who keep nothing."""


class _Seen:
    """One call of an experiment."""

    __slots__ = ("arm", "aside", "sample", "scored", "told")

    def __init__(self) -> None:
        self.arm: Arm | None = None
        self.aside: int | None = 0  # nano-dollars spent because of it so far; None: something had no price
        self.sample: Sample | None = None  # of one whose shadow is still asked
        self.told = False
        self.scored = False


class Trials:
    """Implements `finish.Observer`, for calls with an arm and calls that the gate makes itself."""

    def __init__(self, clock: Clock, dialect: Dialect, *, tasks: Tasks, side: Asks, tell: Tell) -> None:
        """`tell`: keeps what a call adds to an experiment."""
        self._clock = clock
        self._dialect = dialect
        self._tasks = tasks
        self._side = side
        self._tell = tell
        self._calls: Recent[str, _Seen] = Recent(CALLS_MAX, _Seen)
        self._runs: Recent[str, list[str]] = Recent(RUNS_MAX, list)
        self._budgets: Recent[str, DailyBudget] = Recent(EXPERIMENTS_MAX, DailyBudget)

    def __repr__(self) -> str:
        return f"Trials({self._calls!r})"

    def begin(self, record: Record, arm: Arm, snapshot: Snapshot) -> None:
        """It was planned, and nobody was asked yet."""
        call = record.call
        record.decided(self._clock.now(), f"in the arm {arm.name} of experiment {arm.experiment!r}{_also(arm)}")
        self._calls.get(call.id).arm = arm
        run = run_of(call.identity)
        if run is not None and not call.cause:
            steps = self._runs.get(run)
            steps.append(call.id)
            del steps[:-STEPS_MAX]
        if arm.shadowed and call.endpoint in COMPARED and self._has_money(arm, snapshot):
            record.pupils += (partial(self._answered, arm, snapshot),)

    def observe(self, outcome: Outcome) -> None:
        call, arm = outcome.call, None if outcome.plan is None else outcome.plan.arm
        if arm is None:
            self._aside(call.cause, outcome.cost_usd_nanos)
            return
        seen = self._calls.get(call.id)
        seen.told = True
        if outcome.error_source in NOT_THE_ARMS or outcome.reused is not None:
            return
        sample = _sample(outcome, arm, seen.aside)
        if call.cause:
            self._budgets.get(arm.experiment).spend(sample.usd_nanos or 0)
        if arm.shadowed:
            seen.sample = sample  # it counts once the candidate was asked
        else:
            self._tell(arm.experiment, sample)

    def heed(self, word: Word) -> int:
        """How many answers of this process it was about. One word about a run is one score of its unit."""
        return self._scored(word) if isinstance(word, Feedback) else 0

    def _scored(self, feedback: Feedback) -> int:
        if feedback.run is None:
            calls = [] if feedback.request is None else [feedback.request]
        else:
            calls = self._runs.find(feedback.run) or []
            self._runs.forget(feedback.run)
        arms = [arm for call in calls if (arm := self._speak_of(call)) is not None]
        for arm in dict.fromkeys(arms):
            self._tell(arm.experiment, Sample(arm.name, arm.unit, score=feedback.score))
        return len(arms)

    def _speak_of(self, call: str) -> Arm | None:
        """None for an answer of which was spoken before, and in a shadow, where the candidate's cannot be."""
        seen = self._calls.find(call)
        if seen is None or seen.arm is None or seen.arm.shadowed or seen.scored:
            return None
        seen.scored = True
        return seen.arm

    def _aside(self, cause: str, usd_nanos: int | None) -> None:
        """What was spent because of a call, before its end or after it."""
        seen = self._calls.find(cause)
        if seen is None or seen.arm is None:
            return
        if not seen.told:
            seen.aside = _plus(seen.aside, usd_nanos)
        elif not seen.arm.shadowed:
            self._tell(seen.arm.experiment, Sample(seen.arm.name, seen.arm.unit, usd_nanos=usd_nanos))

    # --- the shadow --------------------------------------------------------------------------------------------------

    def _has_money(self, arm: Arm, snapshot: Snapshot) -> bool:
        route = snapshot.planner.routes.find(arm.experiment)
        if route is None or route.experiment is None:
            return False
        return self._budgets.get(arm.experiment).has_some(route.experiment.usd_nanos_a_day, self._clock.now())

    def _answered(self, arm: Arm, snapshot: Snapshot, record: Record, body: bytes) -> None:
        if record.reused is not None:  # what others had said
            return
        self._tasks.start("experiment", self._compare(arm, snapshot, record.call, body))

    async def _compare(self, arm: Arm, snapshot: Snapshot, call: Call, body: bytes) -> None:
        later = structs.replace(call, deadline=self._clock.now() + SHADOW_S, priority="batch")
        alone = _candidate_alone(snapshot, arm.experiment)
        reply = await self._side.ask(later, call.endpoint, call.raw, snapshot=alone, seconds=SHADOW_S)
        seen = self._calls.find(call.id)
        if seen is None or seen.sample is None:
            return
        self._tell(arm.experiment, seen.sample)
        agreed = None if isinstance(reply, ProxyError) else self._agreed(body, reply.body)
        if agreed is not None:  # the control says what it says: only the candidate can differ
            self._tell(arm.experiment, Sample("control", arm.unit, score=1.0))
            self._tell(arm.experiment, Sample("candidate", arm.unit, score=float(agreed)))

    def _agreed(self, body: bytes, other: bytes) -> bool | None:
        """None: that cannot be told."""
        try:
            one, two = self._dialect.said(body), self._dialect.said(other)
        except ProxyError:
            return None
        return agree(one[0], two[0]) if len(one) == len(two) == 1 else None


def _also(arm: Arm) -> str:
    return "; the candidate is asked too, and heard by nobody" if arm.shadowed else ""


def _sample(outcome: Outcome, arm: Arm, aside: int | None) -> Sample:
    answered = None if outcome.client_gone else outcome.error_code is None
    streamed = outcome.call.head.stream
    return Sample(
        arm.name,
        arm.unit,
        calls=1,
        usd_nanos=_plus(outcome.cost_usd_nanos, aside),
        duration_s=outcome.duration_s if answered else None,
        first_event_s=outcome.first_event_s if answered and streamed else None,
        answered=answered,
        escalated=len(outcome.climbed) > 1,
    )


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _candidate_alone(snapshot: Snapshot, name: str) -> Snapshot:
    """In which every call of the experiment is the candidate's."""
    routes = []
    for route in snapshot.planner.routes.all:
        if route.name == name and route.experiment is not None:
            route = structs.replace(route, experiment=structs.replace(route.experiment, mode="split", share=1.0))
        routes.append(route)
    return structs.replace(snapshot, planner=structs.replace(snapshot.planner, routes=Routes(tuple(routes))))
