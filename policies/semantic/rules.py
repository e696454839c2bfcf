"""What one agent's semantic cache is told: how wrong it may be, by whom questions are embedded and answers compared."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

DAY_S: Final = 86_400.0


class SemanticRules(Struct, frozen=True):
    """Seconds and nano-dollars."""

    model: str  # that embeds
    error_max: float = 0.01  # share of lookups that may be answered wrongly
    ttl_s: float | None = None  # None: a day, and questions about the present are not looked up
    dimensions: int | None = None  # asked of the embedder; None: as many as it gives
    timeout_s: float = 0.2  # of an embedding; then it is a miss
    judge: str | None = None  # the model that compares long answers
    judge_usd_nanos: int = 1_000_000_000  # for it, a day

    @property
    def life_s(self) -> float:
        return DAY_S if self.ttl_s is None else self.ttl_s
