"""The blocks `budgets` and `ledger`: how money is kept, whoever's it is.

Budgets themselves stand under `defaults`, `teams`, `agents` and `keys`. What these words do is decided by
`proxy.money.budgets` and `proxy.last_word`.
"""

from __future__ import annotations

from pydantic import Field

from proxy.config.providers import Block
from proxy.config.values import Pause, Switch, Usd


class Budgets(Block):
    """How budgets are kept."""

    wait_s: Pause = Field(default=2.0, description="A call that only running calls stand in the way of waits so long.")
    waiting_max: int = Field(default=1_000, ge=0, le=100_000, description="So many calls may wait for that.")
    overrun_tolerance_usd: Usd = Field(
        default="0", description="An account is blocked when calls have cost so much more than was left."
    )


class Ledger(Block):
    """How calls are written down."""

    strict: Switch = Field(default=False, description="A reply ends only once its call is on the disk.")
