"""The query string of the admin listener: names that are known, values that mean something, instants.

An instant is a length before now (`30m`, `6h`, `1d`, `2w`) or a date of ISO 8601, with or without a time of day;
without an offset it is UTC. Nothing is guessed: what is unknown, given twice or unreadable is refused by name.
"""

from __future__ import annotations

import re
from calendar import monthrange, timegm
from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from proxy.errors import ProxyError

ROWS_DEFAULT = 100
ROWS_MAX = 500
INTEGER_MAX = 2**63 - 1
UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
AGO = re.compile(r"([0-9]{1,6})([smhdw])")
STATUS = re.compile(r"[1-5][0-9]{2}")
DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
TIME = re.compile(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?")


def parameters(query: str, known: tuple[str, ...] | None = ()) -> dict[str, str]:
    """What was given; `known` None leaves the names to whoever reads them."""
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    unknown = sorted(name for name in given if known is not None and name not in known)
    if unknown:
        takes = f"this path takes {', '.join(known)}" if known else "this path takes none"
        raise ProxyError("invalid_request", f"unknown parameter {', '.join(unknown)}: {takes}", param=unknown[0])
    if len(given) < len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = next(name for name in given if times[name] > 1)
        raise ProxyError("invalid_request", f"parameter {twice} is given twice", param=twice)
    return given


def number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= INTEGER_MAX):
        raise ProxyError("invalid_request", f"{name} must be a whole number", param=name)
    return int(text)


def limit(given: Mapping[str, str]) -> int:
    wanted = number(given, "limit")
    if wanted is None:
        return ROWS_DEFAULT
    if not 1 <= wanted <= ROWS_MAX:
        raise ProxyError("invalid_request", f"limit must be between 1 and {ROWS_MAX}", param="limit")
    return wanted


def status(given: Mapping[str, str]) -> None:
    """Refuses what no reply has."""
    if STATUS.fullmatch(given.get("status", "200")) is None:
        raise ProxyError("invalid_request", "status must be from 100 to 599", param="status")


def one_of(given: Mapping[str, str], name: str, values: Sequence[str]) -> None:
    """Refuses any other."""
    if given.get(name, values[0]) not in values:
        raise ProxyError("invalid_request", f"{name} must be one of {', '.join(values)}", param=name)


def instant_ms(given: Mapping[str, str], name: str, now_ms: int) -> int | None:
    """Milliseconds since 1970."""
    text = given.get(name)
    if text is None:
        return None
    ago = AGO.fullmatch(text)
    at = now_ms - int(ago[1]) * UNITS_MS[ago[2]] if ago else _iso_ms(text)
    if at is None:
        raise ProxyError("invalid_request", f"{name} must be like 30m, 6h, 1d or 2026-01-31T12:00Z", param=name)
    return at


def _iso_ms(text: str) -> int | None:
    day = DAY.fullmatch(text[:10])
    clock = TIME.fullmatch(text[11:]) if len(text) > 10 and text[10] in "T " else None
    if day is None or (len(text) > 10 and clock is None):
        return None
    year, month, date = (int(part) for part in day.groups())
    if not (1970 <= year <= 9998 and 1 <= month <= 12 and 1 <= date <= monthrange(year, month)[1]):
        return None
    seconds = _seconds(clock) if clock else 0
    return None if seconds is None else (timegm((year, month, date, 0, 0, 0)) + seconds) * 1000


def _seconds(clock: re.Match[str]) -> int | None:
    """Since midnight UTC; a fraction of a second is dropped."""
    hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    zone = clock[4] or "Z"
    if zone == "Z":
        return hour * 3600 + minute * 60 + second
    ahead = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    return hour * 3600 + minute * 60 + second - (ahead if zone[0] == "+" else -ahead)
