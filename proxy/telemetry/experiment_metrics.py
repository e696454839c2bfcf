"""The metrics of experiments, read from the one outcome of a call: how many calls each arm has, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.observed import Arm
from proxy.telemetry.labels import Labels
from proxy.telemetry.series import Number, Series
from proxy.types import Outcome


class ExperimentMetrics:
    def __init__(self, numbers: Mapping[str, Series[Number]], labels: Labels) -> None:
        self._labels = labels
        self._calls = numbers["experiment_calls_total"]
        self._spent = numbers["experiment_usd_total"]

    def observe(self, arm: Arm, outcome: Outcome) -> None:
        name = self._labels.route(arm.experiment)
        self._calls[name, arm.name, "answered" if outcome.error_code is None else "error"].value += 1
        self._spent[name, arm.name].value += outcome.cost_usd_nanos or 0
