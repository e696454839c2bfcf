"""What breakers look like to people: one row for each target, and a sentence for each transition."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from policies.breaker import WHY, Breakers
from policies.breaker_state import Breaker, State, Transition
from policies.breaker_watch import Vendor
from proxy.types import Target


class Row(Struct, frozen=True):
    """One target. `why` is empty where it may be asked; `retry_s`: until its next trial, None without a wait."""

    target: str
    state: State
    why: str
    retry_s: float | None
    last_failure: str | None  # its code
    calls: int  # of the last minute
    bad_share: float
    rejected: int  # times it was left out of a pool


def rows(breakers: Breakers, targets: Sequence[Target], now: float) -> tuple[Row, ...]:
    return tuple([_row(breakers, target, now) for target in targets])


def alarming(transition: Transition) -> bool:
    """An operator has to mend it."""
    return transition.to == "open" and transition.reason == "auth"


def sentence(transition: Transition) -> str:
    of = transition.name if "/" in transition.name else f"the key of {transition.name}"
    if transition.to == "open":
        return f"{of} is out: {WHY[transition.reason]}; next trial in {transition.wait_s:.1f} s"
    return f"{of} is back" if transition.to == "closed" else f"{of} is being tried again"


def _row(breakers: Breakers, target: Target, now: float) -> Row:
    breaker, vendor = breakers.look(target)
    worst = vendor.key if vendor.key.state == "open" else breaker
    share = breaker.window.share(now)
    return Row(
        target=target.id,
        state=breakers.state(target.id),
        why=_why(worst, vendor),
        retry_s=max(0.0, worst.retry_at - now) if worst.state == "open" else None,
        last_failure=worst.code,
        calls=breaker.window.events,
        bad_share=share,
        rejected=breaker.rejected,
    )


def _why(breaker: Breaker, vendor: Vendor) -> str:
    if breaker.state == "open" and breaker.reason in WHY:
        return WHY[breaker.reason]
    if breaker.state == "half_open":
        return "it is being tried again"
    return f"{len(vendor.out)} of its provider's {len(vendor.worked)} targets are out" if vendor.shut else ""
