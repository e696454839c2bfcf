"""What second copies of late calls may cost, over all calls. Whether an agent has any stands with the agent."""

from __future__ import annotations

from pydantic import Field

from policies.hedge import HedgeRules
from policies.hedge_credit import CreditRules
from proxy.config.providers import Block
from proxy.config.values import Share


class Hedging(Block):
    """Second copies of calls that are late, sent to another target; the first answer counts."""

    budget: Share = Field(default=0.02, description="So many of a model's calls may be sent twice, as a share.")
    bimodal_budget: Share = Field(default=0.05, description="The same where answers are either prompt or very late.")
    run_max: int = Field(default=2, ge=0, le=1_000, description="So many calls of one run may be.")

    def rules(self) -> HedgeRules:
        credit = CreditRules(run_hedges_max=self.run_max)
        return HedgeRules(budget=self.budget, budget_bimodal=self.bimodal_budget, credit=credit)
