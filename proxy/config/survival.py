"""What becomes of an agent's streams whose upstream breaks off: the fields, and the rules that they stand for."""

from __future__ import annotations

from pydantic import Field

from policies.survival import OnCut, Survival
from proxy.config.providers import Paced

HOLD_MOST = 4_096


class Surviving(Paced):
    """A block with them."""

    on_cut: OnCut = Field(
        default="error", description="A stream breaks off: it ends in an error, or another engine continues it."
    )
    hold_tokens: int = Field(
        default=0, ge=0, le=HOLD_MOST, description="So much of a stream is kept back at first, at most 2 seconds long."
    )

    def survival(self) -> Survival:
        return Survival(self.on_cut, self.hold_tokens)
