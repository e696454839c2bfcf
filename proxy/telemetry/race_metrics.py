"""The metrics of attempts beyond the first: retries, fallbacks and hedges, what was paid in vain, what was not done.

All of it is read from the one outcome of a call, so that hedges fired and finished are the same number. The allowance
for attempts and the delays are read from their owners at each scrape. Of a pair of attempts the one whose content came
first has won, and the bill of the other is waste; where none had any, that of the hedge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf
from operator import attrgetter

from proxy.telemetry.cascade_metrics import CascadeMetrics
from proxy.telemetry.experiment_metrics import ExperimentMetrics
from proxy.telemetry.labels import Labels
from proxy.telemetry.reading import attempt_result
from proxy.telemetry.series import Table
from proxy.telemetry.vote_metrics import VoteMetrics
from proxy.types import Attempt, Outcome


class RaceMetrics:
    def __init__(self, table: Table, labels: Labels) -> None:
        numbers = table.numbers
        self._labels = labels
        self._retries = numbers["retries_total"]
        self._fallbacks = numbers["fallbacks_total"]
        self._fired = numbers["hedges_fired_total"]
        self._finished = numbers["hedges_finished_total"]
        self._suppressed = numbers["hedges_suppressed_total"]
        self._wasted_tokens = numbers["hedge_wasted_tokens_total"]
        self._wasted = numbers["hedge_wasted_usd_total"]
        self._delay = numbers["hedge_delay_seconds"]
        self._left = numbers["attempt_budget_remaining_ratio"]
        self._refused = numbers["attempt_budget_refused_total"]
        self._broke = numbers["prompt_prefix_breaks_total"]
        self._loops = numbers["loops_detected_total"]
        self.cascades = CascadeMetrics(numbers, labels)
        self._votes = VoteMetrics(numbers, labels)
        self._experiments = ExperimentMetrics(numbers, labels)

    def watch(self, routes: Iterable[str], armed_s: Mapping[str, float], left: Callable[[], float]) -> None:
        """`armed_s`: the last delay of each route that had one; `left`: the attempt budget's share of its burst."""
        self._left[()].read = left
        for route in routes:
            self._delay[route,].read = partial(_armed, armed_s, route)

    def observe(self, outcome: Outcome) -> None:
        """Of a call with decisions, or with more than one attempt: nothing here happens to any other."""
        route = self._labels.route(outcome.call.route)
        for decision in outcome.decisions:
            if decision.broke is not None:
                self._broke[self._labels.agent(outcome.call.identity.agent), decision.broke].value += 1
            if (spared := decision.spared) is not None:
                if spared.role == "hedge":
                    self._suppressed[route, spared.kind].value += 1
                if spared.kind == "attempt_budget":
                    self._refused[spared.role,].value += 1
        if outcome.loop is not None:
            self._loops[self._labels.agent(outcome.call.identity.agent), outcome.loop.action].value += 1
        if outcome.climbed:
            self.cascades.observe(outcome)
        if outcome.plan is not None and outcome.plan.arm is not None:
            self._experiments.observe(outcome.plan.arm, outcome)
        if outcome.voted is not None:
            self._votes.observe(outcome.call.route, outcome.voted)
        if _begun_late(outcome) and outcome.attempts:
            self._fell_back(outcome.attempts[0], route, "no_permit")
        for attempt in outcome.attempts:
            if attempt.role == "retry":
                self._retried(attempt, outcome.attempts, route)
            elif attempt.role == "hedge":
                self._hedged(attempt, outcome.attempts, route)

    def _retried(self, attempt: Attempt, attempts: tuple[Attempt, ...], route: str) -> None:
        failed = [each for each in attempts if each.error_code is not None and each.number < attempt.number]
        if not failed:  # there was no leave to ask any target of those before
            self._fell_back(attempt, route, "no_permit")
            return
        before = failed[-1]
        self._retries[route, attempt_result(before)].value += 1
        if attempt.target.id != before.target.id:
            self._fell_back(attempt, route, attempt_result(before))

    def _fell_back(self, attempt: Attempt, route: str, reason: str) -> None:
        self._fallbacks[route, self._labels.target(attempt.target), reason].value += 1

    def _hedged(self, hedge: Attempt, attempts: tuple[Attempt, ...], route: str) -> None:
        original = _original(hedge, attempts)
        pair = (hedge,) if original is None else (original, hedge)
        winner = min(pair, key=_content_at)
        won = winner.first_event_s is not None
        self._fired[route,].value += 1
        self._finished[route, "none" if not won else "hedge" if winner is hedge else "original"].value += 1
        loser = original if won and winner is hedge else hedge
        if loser is not None and loser.usage is not None:
            basis = loser.usage.source
            self._wasted_tokens[route, basis].value += loser.usage.input_total + loser.usage.output_total
            self._wasted[route, basis].value += loser.cost_usd_nanos or 0


def _armed(armed_s: Mapping[str, float], route: str) -> float:
    return armed_s.get(route, 0.0)


def _original(hedge: Attempt, attempts: tuple[Attempt, ...]) -> Attempt | None:
    """The attempt that was late: the last one before the hedge. Earlier ones may still be read for their bills."""
    before = [each for each in attempts if each.role != "hedge" and each.number < hedge.number]
    return max(before, key=attrgetter("number"), default=None)


def _content_at(attempt: Attempt) -> tuple[float, bool]:
    """Of two at the same instant the one that was given up has lost."""
    first_s = inf if attempt.first_event_s is None else attempt.first_event_s
    return attempt.started_at + first_s, attempt.lesson == "ignore"


def _begun_late(outcome: Outcome) -> bool:
    """Its plan has nothing but fallbacks left: too many waited for the model itself."""
    plan = outcome.plan
    return plan is not None and bool(plan.fallbacks) and len(plan.steps) == len(plan.fallbacks)
