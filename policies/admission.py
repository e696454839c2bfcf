"""Whether balances admit what a call needs: all of them, or none is debited.

Nothing is changed here: the accounts hold what was admitted, a quote only asks.
"""

from __future__ import annotations

from policies.limits import Refusal, Shortfall
from policies.meter import Balance


def refusal(
    balances: tuple[Balance, ...], needs: tuple[int, ...], *, wall: float, own: tuple[int, ...] = ()
) -> Refusal | None:
    """None: all of it fits. `own` is what the same call holds already."""
    for balance, need in zip(balances, needs):  # noqa: B905  (made side by side)
        # The first test is the hot one, and never admits more than the second.
        if (need > balance.free or balance.overrun) and not balance.admits(need):
            return Refusal(_shortfalls(balances, needs, own or (0,) * len(needs)), wall)
    return None


def _shortfalls(balances: tuple[Balance, ...], needs: tuple[int, ...], own: tuple[int, ...]) -> tuple[Shortfall, ...]:
    """Every limit that stands in the way, not only the first."""
    each = zip(balances, needs, own, strict=True)
    return tuple(balance.shortfall(need, held) for balance, need, held in each if not balance.admits(need))
