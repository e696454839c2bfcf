"""The part of the catalog that tells of experiments; what they have shown is computed where all calls are known."""

from __future__ import annotations

from typing import get_args

from proxy.observed import ArmName
from proxy.telemetry.family import Label, counter, dollars

EXPERIMENT = Label("experiment")
ARM = Label("arm", get_args(ArmName))
ENDED = Label("result", ("answered", "error"))

EXPERIMENTS = (
    counter("experiment_calls_total", "Calls of experiments, those in the shadow included.", EXPERIMENT, ARM, ENDED),
    dollars("experiment_usd_total", "What they cost, without what was spent beside them.", EXPERIMENT, ARM),
)
