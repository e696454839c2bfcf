"""The run admission gate before the targets of a model: the fields, and the rules that they stand for."""

from __future__ import annotations

from pydantic import Field

from policies.gate_limit import RUNS, TOKENS
from policies.run_gate import GateRules
from proxy.config.providers import Block


class Gating(Block):
    """New runs wait while the memory of the model's own engines is taken by those that run; `{}` is all it takes."""

    share: float = Field(
        default=TOKENS.start,
        ge=TOKENS.least,
        le=TOKENS.most,
        description="So much of the engines' `kv_tokens` may be in use at first; then it is learned.",
    )
    runs: int = Field(
        default=int(RUNS.start),
        ge=int(RUNS.least),
        le=int(RUNS.most),
        description="So many runs at first, where `kv_tokens` of an engine is not known; then it is learned.",
    )
    idle_s: float = Field(
        default=300.0, ge=1, le=86_400, description="A run without a call for so long counts no more."
    )
    waiting_max: int = Field(default=1_000, ge=0, le=100_000, description="So many calls may wait here.")

    def rules(self) -> GateRules:
        return GateRules(self.share, self.runs, self.idle_s, self.waiting_max)
