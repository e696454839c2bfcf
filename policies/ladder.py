"""The ladder that an agent steps down near its budget: which rungs are reached, and what they make of a call.

A rung is entered at a share of the tightest limit on the call's path. How it is left again is not decided here: the
pressure that comes in falls behind what is taken (`policies.meter`), begins again with a window, and ends with a
top-up. `stop` changes nothing: at its share the limit itself refuses. What a rung makes of the targets is
`policies.plan`'s word; where a call waits, or is refused what is not known, is `proxy.execution.easing`'s.
"""

from __future__ import annotations

from typing import Final

from policies.clamp import FLOOR_TOKENS
from policies.limits import Refusal, Shortfall
from proxy.pressure import FIRST, Pressure
from proxy.types import Call, Endpoint, Rung

# Thousandths.
ENTERED: Final[dict[Rung, int]] = {"cheaper": FIRST, "shorter": 800, "cache_only": 900, "queue": 950, "stop": 1_000}
NOTICED: Final = 800  # from here on replies say how much is used
GENERATING: Final[frozenset[Endpoint]] = frozenset({"chat", "completions", "responses"})
OUTPUT_TOKENS_USUAL: Final = 4_096  # of a silent client, where nobody knows the model's maximum

Ladder = tuple[Rung, ...]


def reached(ladder: Ladder, felt: int) -> Ladder:
    """The rungs of this ladder that hold at a pressure, in the order in which they are entered."""
    if not ladder or felt < FIRST:
        return ()
    return tuple([rung for rung, entered in ENTERED.items() if felt >= entered and rung in ladder])


def waits(ladder: Ladder, felt: int) -> bool:
    return felt >= ENTERED["queue"] and "queue" in ladder


def only_known(ladder: Ladder, felt: int) -> bool:
    """Only an answer that is known already may be had. Nothing waits here: further down there is not more to have."""
    return felt >= ENTERED["cache_only"] and "cache_only" in ladder


def denied(pressure: Pressure, ladder: Ladder, wall: float) -> Refusal:
    """There is no known answer, or the call has waited and the budget has not eased."""
    assert pressure.period is not None  # there is no pressure without a limit
    shortfall = Shortfall(
        period=pressure.period,
        limit=pressure.limit,
        spent=pressure.used,
        held=pressure.held,
        needed=0,
        resets_wall=pressure.resets_wall,
        reason="cache_only" if only_known(ladder, pressure.felt) else "queue",
    )
    return Refusal((shortfall,), wall)


def shortened(call: Call, model_max: int | None, usual: int | None = None) -> int | None:
    """The output limit of the rung `shorter`: what half of such answers stay below, if that is known, else half of what
    could be asked for, and never below the floor. None: the answer cannot be limited, or is short enough already."""
    if call.endpoint not in GENERATING or call.head.fields is None:
        return None
    named = [limit for limit in (call.head.output_tokens_max, model_max) if limit is not None]
    allowed = min(named, default=OUTPUT_TOKENS_USUAL)
    limit = max(FLOOR_TOKENS, allowed // 2 if usual is None else usual)
    return limit if limit < allowed else None
