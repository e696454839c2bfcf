"""What a call takes of a target, in one number that agents can be compared by: cost units.

A unit is one token of input that is read afresh. Cached input is a tenth of one; a token of output is as many as it
costs more than one of input, at the target's own price, five where that is not known or nothing is charged. Units
compare calls at one target; they are no money, and nothing is billed by them.
"""

from __future__ import annotations

from typing import Final

from proxy.types import Price, Usage

CACHED: Final = 0.1
OUTPUT: Final = 5.0  # what most vendors ask for output over input
LEAST: Final = 1.0  # a call is never for nothing


def output_weight(price: Price | None) -> float:
    if price is None or price.input_uncached <= 0:
        return OUTPUT
    return price.output / price.input_uncached


def expected(input_tokens: int, all_tokens: int, weight: float) -> float:
    """Before the answer is there. `all_tokens`: input and output; 0: nobody counts them."""
    return max(LEAST, input_tokens + max(0, all_tokens - input_tokens) * weight)


def used(usage: Usage, weight: float) -> float:
    cached = usage.input_cached * (1.0 - CACHED)
    return max(LEAST, usage.input_total - cached + usage.output_total * weight)
