"""The answers that cascades gave of late, so that a word about one of them, or about a whole run, can become labels.

One word about a run is shared over its answers, as nobody knows which of them made it: together they weigh one label.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from msgspec import Struct, structs

from policies.conformal import Label
from policies.recent import Recent

CALLS_MAX: Final = 20_000
RUNS_MAX: Final = 4_096
STEPS_MAX: Final = 256  # of one run, the latest
GOOD: Final = 0.5  # the mark from which on an answer was right


class Reset(Struct, frozen=True, array_like=True, tag="reset"):
    """What was learnt counts no more; None: of all."""

    agent: str | None = None
    model: str | None = None


class Feedback(Struct, frozen=True, array_like=True, tag="feedback"):
    """What somebody says of an answer, or of a run: one of the two, and neither where nobody has that run.
    `score`: in 0..1."""

    score: float
    request: str | None = None
    run: str | None = None  # its id

    @property
    def good(self) -> bool:
        return self.score >= GOOD


Word = Feedback | Reset


class Given:
    def __init__(self) -> None:
        self._calls: OrderedDict[str, Label] = OrderedDict()
        self._runs: Recent[str, list[str]] = Recent(RUNS_MAX, list)

    def __repr__(self) -> str:
        return f"Given({len(self._calls)} answers, {len(self._runs)} runs)"

    def add(self, call: str, run: str | None, label: Label) -> None:
        """`label`: whatever is known of it before anybody says whether it was right."""
        self._calls[call] = label
        if len(self._calls) > CALLS_MAX:
            self._calls.popitem(last=False)
        if run is not None:
            steps = self._runs.get(run)
            steps.append(call)
            del steps[:-STEPS_MAX]

    def labels(self, feedback: Feedback) -> list[Label]:
        """None for an answer of which was spoken before."""
        if feedback.run is None:
            calls = [] if feedback.request is None else [feedback.request]
        else:
            calls = self._runs.find(feedback.run) or []
            self._runs.forget(feedback.run)
        found = [label for call in calls if (label := self._calls.pop(call, None)) is not None]
        share = 1.0 / len(found) if found else 1.0
        return [structs.replace(each, agreed=feedback.good, weight=share, source="feedback") for each in found]
