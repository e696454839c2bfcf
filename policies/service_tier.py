"""Which tier of service a call is held at, and which it is charged at.

Vendors sell some models faster or slower at prices of their own. What the client asks for decides what is held, and
only a dearer tier changes that: nobody promises that the cheaper one is what will be served. What the reply says was
served decides what is charged; a reply that says nothing is taken at its hold. OpenAI API reference, `service_tier`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from pricing.book import STANDARD
from proxy.types import Price, Target

PRIORITY: Final = "priority"
TIERS: Final = (STANDARD, PRIORITY, "flex")  # that a target may have a price for
NAMES: Final[Mapping[str, str]] = {  # by what vendors call them
    "default": STANDARD,
    "standard": STANDARD,
    "on_demand": STANDARD,
    "scale": STANDARD,  # paid for in advance
    "priority": PRIORITY,
    "fast": PRIORITY,
    "flex": "flex",
}
UNSETTLED: Final = frozenset({"", "auto"})  # what was asked for, echoed
UNKNOWN: Final = "unknown_tier"  # a flag


def held(asked: Raw, targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Who asks for priority may get it, and then pays for it."""
    try:
        name = msgspec.json.decode(asked)
    except ValueError:  # a lone surrogate: no tier of anybody's
        return targets
    if not isinstance(name, str) or NAMES.get(name) != PRIORITY:
        return targets
    return tuple([_at(target, PRIORITY) for target in targets])


def charged(target: Target, served: str | None) -> Target:
    """`target` as it was held, at the price of the tier that the reply names."""
    if not target.tiers or served is None or served in UNSETTLED:
        return target
    tier = NAMES.get(served)
    if tier is None:
        return replace(target, price=max((price for _, price in target.tiers), key=_dearness))
    return _at(_at(target, STANDARD), tier)


def unknown(target: Target, served: str | None) -> bool:
    """Whether `served` is a name that nobody here has a price for, at a target where that matters."""
    return bool(target.tiers) and served is not None and served not in UNSETTLED and served not in NAMES


def _at(target: Target, tier: str) -> Target:
    price = next((price for name, price in target.tiers if name == tier), None)
    return target if price is None else replace(target, price=price)


def _dearness(price: Price) -> tuple[int, int]:
    return price.output, price.input_uncached
