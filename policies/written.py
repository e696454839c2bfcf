"""Limits as people write them in one word: `5/day`, `0.5/run`, `400000tokens/minute`, `100/month,Europe/Berlin,strict`.

An amount (of USD, unless a unit follows), a window after the slash (the total without one), then after commas `strict`,
`soft` or a time zone. It means what a `budget` of the configuration means, whose rules `policies.limits.Limit` knows.
A limit has one canonical text, which reads back as the same limit.
"""

from __future__ import annotations

import re
from typing import Final, get_args

from policies.limits import HoldMode, Limit
from policies.refusal import amount
from proxy.types import Per, Unit

UNITS: Final[dict[str, Unit]] = {unit: unit for unit in get_args(Unit)}
WINDOWS: Final[dict[str, Per]] = {per: per for per in get_args(Per)}
NANO_DIGITS: Final = 9
_WORD: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,12}))?([a-z]*)(?:/([a-z]+))?")
_EXAMPLE: Final = "such as 5/day, 0.5/run, 400000tokens/minute or 100/month,Europe/Berlin"


def limit_of(text: str) -> Limit:
    """Raises ValueError with what would be right."""
    first, *rest = text.split(",")
    found = _WORD.fullmatch(first)
    if found is None:
        raise ValueError(f"a budget reads AMOUNT[UNIT][/WINDOW], {_EXAMPLE}")
    whole, fraction, named, window = found.groups()
    unit, per = UNITS.get(named or "usd"), WINDOWS.get(window or "total")
    if unit is None:
        raise ValueError(f"the unit of a budget is {', '.join(UNITS)}; without one it is usd")
    if per is None:
        raise ValueError(f"the window of a budget is {', '.join(WINDOWS)}")
    hold: HoldMode = "strict" if "strict" in rest else "estimated"
    zones = [word for word in rest if word not in ("strict", "soft")]
    if len(zones) > 1:
        raise ValueError("after the window of a budget there may be strict, soft and one time zone")
    time_zone = zones[0] if zones else "UTC"
    return Limit(unit, units_of(unit, whole, fraction or ""), per, time_zone, hold=hold, soft="soft" in rest)


def units_of(unit: Unit, whole: str, fraction: str) -> int:
    """Money in nano-dollars, rounded down; the rest is counted."""
    if unit == "usd":
        return int(whole + fraction[:NANO_DIGITS].ljust(NANO_DIGITS, "0"))
    if fraction:
        raise ValueError(f"{unit} are counted: a budget in them has no fraction")
    return int(whole)


def text_of(limit: Limit) -> str:
    shown = amount(limit.unit, limit.amount)
    unit = "" if limit.unit == "usd" else limit.unit
    window = "" if limit.per == "total" else f"/{limit.per}"
    options = [word for word, given in (("strict", limit.hold == "strict"), ("soft", limit.soft)) if given]
    zones = [] if limit.time_zone == "UTC" else [limit.time_zone]
    return ",".join([f"{shown}{unit}{window}", *zones, *options])
