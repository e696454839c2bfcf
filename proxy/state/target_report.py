"""How each target stands: what a process that serves knows of it, and what that comes to over all of them.

Each process has breakers, learned speeds and places of its own. Over several the worst breaker is shown with its
reason, counts and places add up, and speeds are the mean of those who know one. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from proxy.types import Price

State = Literal["closed", "open", "half_open"]

WORSE: Final[dict[State, int]] = {"closed": 0, "half_open": 1, "open": 2}


class Standing(Struct, frozen=True):
    """Of one target. Times in seconds; None: nothing is known, or nothing limits it."""

    target: str
    state: State
    why: str  # empty: nothing stands against it
    retry_s: float | None  # until its next trial
    last_failure: str | None  # its code
    calls: int  # of the last minute, as the breaker has heard of them
    bad_share: float  # of these
    rejected: int  # times it was left out of a choice
    in_flight: int  # attempts
    concurrency: float | None  # attempts at a time, as configured or learned
    first_token_s: float | None  # of a stream whose prompt is short
    reply_s: float | None  # of a plain reply
    prompt_tokens_a_second: float | None
    out_of: tuple[int, int] = (0, 1)  # processes in which it is out, of those that were asked


class TargetRow(Struct, frozen=True):
    """`health` is None of a wildcard, whose models are many."""

    target: str
    provider: str
    model: str
    price: Price | None
    health: Standing | None


def merged(standings: Iterable[Standing]) -> list[Standing]:
    """One for each target, in the order of their first appearance."""
    by_target: dict[str, list[Standing]] = {}
    for standing in standings:
        by_target.setdefault(standing.target, []).append(standing)
    return [_over_all(each) for each in by_target.values()]


def _over_all(each: list[Standing]) -> Standing:
    worst = max(each, key=lambda one: (WORSE[one.state], one.retry_s or 0.0))
    calls, limits = sum(one.calls for one in each), [one.concurrency for one in each if one.concurrency is not None]
    return replace(
        worst,
        last_failure=worst.last_failure or next((one.last_failure for one in each if one.last_failure), None),
        calls=calls,
        bad_share=sum(one.bad_share * one.calls for one in each) / calls if calls else 0.0,
        rejected=sum(one.rejected for one in each),
        in_flight=sum(one.in_flight for one in each),
        concurrency=sum(limits) if len(limits) == len(each) else None,
        first_token_s=_mean([one.first_token_s for one in each]),
        reply_s=_mean([one.reply_s for one in each]),
        prompt_tokens_a_second=_mean([one.prompt_tokens_a_second for one in each]),
        out_of=(sum(one.out_of[0] for one in each), sum(one.out_of[1] for one in each)),
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
