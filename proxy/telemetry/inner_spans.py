"""Where a call was before it was sent: looking for a known answer, being planned, waiting in a line.

From the stretches of time that its record has; nothing is measured for their sake. Planning is what lies between what
came before it and the first thing after it. Waits too short to see have no span.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.observed import Spell
from proxy.telemetry.span import INTERNAL, Attributes, Span, listed, span, span_id, timed
from proxy.types import Outcome, Plan

WAIT_LEAST_S: Final = 0.001
TARGETS_SHOWN: Final = 16


def inner_spans(outcome: Outcome, root: str) -> Iterator[Span]:
    """In the order of their beginning, but for the plan's, which is the last."""
    for number, spell in enumerate(outcome.spells, 1):
        if spell.kind == "cache" or spell.lasted_s >= WAIT_LEAST_S:
            yield _made(outcome, root, spell, number, _of_spell(outcome, spell))
    if outcome.plan is not None:
        began, ended = _planning(outcome)
        yield _made(outcome, root, Spell("plan", "", began, ended, True), 1, _of_plan(outcome.plan))


def _made(outcome: Outcome, root: str, spell: Spell, number: int, told: Attributes) -> Span:
    made = span(outcome, span_id(outcome.call.id, spell.kind, number), root, spell.kind, INTERNAL)
    timed(made, outcome, spell.began_at, spell.lasted_s)
    made["attributes"] = listed(told)
    return made


def _planning(outcome: Outcome) -> tuple[float, float]:
    arrived = outcome.call.arrived_at
    before = [spell.ended_at for spell in outcome.spells if not spell.planned]
    after = [spell.began_at for spell in outcome.spells if spell.planned]
    after += [attempt.started_at for attempt in outcome.attempts]
    began = max(before, default=arrived)
    return began, max(began, min(after, default=arrived + outcome.duration_s))


def _of_spell(outcome: Outcome, spell: Spell) -> Attributes:
    if spell.kind == "queue":
        return {"headgate.queue.for": spell.on}
    return {f"headgate.cache.{looked.cache}": looked.result for looked in outcome.looked_up}


def _of_plan(plan: Plan) -> Attributes:
    targets = [target.id for step in plan.steps for target in step]
    told: Attributes = {"headgate.plan.mode": plan.mode, "headgate.plan.reason": plan.reason}
    if plan.members:
        told["headgate.plan.models"] = ", ".join(member.model for member in plan.members)
    if targets:
        told["headgate.plan.targets"] = ", ".join(targets[:TARGETS_SHOWN])
    return told
