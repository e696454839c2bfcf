"""The fields of an experiment: a model that stands for two others, and who of its callers gets which."""

from __future__ import annotations

from pydantic import Field

from policies.experiment import Experiment, ExperimentMode, Unit
from policies.experiment_report import Design
from proxy.config.providers import Block
from proxy.config.values import ModelName, Share, Usd, usd_nanos


class Experimenting(Block):
    """Two configured models of any mode are compared on live calls."""

    control: ModelName = Field(description="The model as it is now.")
    candidate: ModelName = Field(description="The one that may take its place.")
    share: Share = Field(default=0.5, gt=0, description="Of the units, how many are the candidate's.")
    unit: Unit = Field(default="run", description="What stays in its arm: a `run`, an `agent`, or each `call` alone.")
    mode: ExperimentMode = Field(
        default="split", description="`split`: both answer; `shadow`: the candidate is asked too, and heard by nobody."
    )
    shadow_budget: Usd = Field(default="5", description="`shadow`: what the candidate may cost a day, in USD.")

    def rules(self, name: str) -> Experiment:
        return Experiment(name, self.share, self.unit, self.mode, usd_nanos(self.shadow_budget))

    def design(self, name: str) -> Design:
        return Design(name, self.control, self.candidate, self.mode, self.unit, self.share)
