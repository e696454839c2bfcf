"""How long an upstream asks to be left alone: every form of the hint, made one number of seconds.

In the order of their authority: `retry-after-ms`, `retry-after` (RFC 9110), Google's `retryDelay` in the body, the
reset times of rate limit headers (vendors' own, and the IETF's RateLimit fields), and at last the words of the message.
The first that makes sense is taken. Of several reset times those of used-up limits count, the longest of them; if none
says it is used up, the shortest. Instants are compared with the upstream's own clock where it sends a `Date`.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Iterator, Mapping
from email.utils import mktime_tz, parsedate_tz

HINT_S_MAX = 120.0
TEXT_MAX = 100  # characters of a header that are looked at
BODY_BYTES_MAX = 16 * 1024
DAY_S = 86_400.0
UNITS_S = {"d": DAY_S, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}

NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{0,20})?(?:[eE][0-9]{1,2})?")
PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|us|µs|ns|d|h|m|s)")
DURATION = re.compile(rf"(?:{PART.pattern}){{1,6}}")
INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]{1,12})?"
    r"(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))"
)
RESET = re.compile(r"(?:^|[;,\s])(?:t|reset)=([0-9]{1,20})")
REMAINING = re.compile(r"(?:^|[;,\s])(?:r|remaining)=([0-9]{1,20})")
RETRY_DELAY = re.compile(rb'"retryDelay"\s{0,8}:\s{0,8}"([0-9a-z.]{1,40})"')
WORDS = re.compile(rb"try again in ([0-9][0-9a-z.]{0,40}[a-z])")


def retry_after_s(headers: Mapping[str, str], body: bytes, now_wall: float) -> float | None:
    """Seconds between 0 and HINT_S_MAX, or None where nothing was said that makes sense. Never raises."""
    now = _instant_of_date(headers.get("Date", "")) or now_wall
    asked = _number(headers.get("Retry-After-Ms", ""))
    wait = asked / 1000 if asked is not None else wait_s(headers.get("Retry-After", ""), now)
    if wait is None:
        wait = _first(RETRY_DELAY, body)
    if wait is None:
        wait = _until_reset(headers, now)
    if wait is None:
        wait = _first(WORDS, body)
    return None if wait is None else min(max(wait, 0.0), HINT_S_MAX)


def _first(pattern: re.Pattern[bytes], body: bytes) -> float | None:
    found = pattern.search(body, 0, BODY_BYTES_MAX)
    return _duration(found[1].decode().rstrip(".")) if found else None


def wait_s(text: str, now: float) -> float | None:
    """Seconds from now, whichever way `text` says them."""
    text = text[:TEXT_MAX].strip()
    if not text:
        return None
    number = _number(text)
    if number is not None:
        return _from_number(number, now)
    duration = _duration(text)
    if duration is not None:
        return duration
    instant = _instant_of_text(text) or _instant_of_date(text)
    return None if instant is None else instant - now


def _from_number(number: float, now: float) -> float:
    """A number within a day of the present is an instant, in seconds or milliseconds; any other is a length."""
    for instant in (number, number / 1000):
        if abs(instant - now) < DAY_S:
            return instant - now
    return number


def _number(text: str) -> float | None:
    text = text[:TEXT_MAX].strip()
    if not NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _duration(text: str) -> float | None:
    if not DURATION.fullmatch(text):
        return None
    return sum(float(count) * UNITS_S[unit] for count, unit in PART.findall(text))


def _instant_of_text(text: str) -> float | None:
    """RFC 3339."""
    found = INSTANT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.group(1, 2, 3, 4, 5, 6))
    fraction, sign, ahead_h, ahead_min = found.group(7, 8, 9, 10)
    ahead = (int(ahead_h) * 3600 + int(ahead_min) * 60) * (-1 if sign == "-" else 1) if sign else 0
    try:
        return calendar.timegm((year, month, day, hour, minute, second)) + float(fraction or 0) - ahead
    except ValueError:
        return None


def _instant_of_date(text: str) -> float | None:
    """An HTTP date, in any of its three forms."""
    parsed = parsedate_tz(text[:TEXT_MAX])
    if parsed is None:
        return None
    try:
        return float(mktime_tz((*parsed[:9], parsed[9] or 0)))
    except (ValueError, OverflowError):
        return None


def _until_reset(headers: Mapping[str, str], now: float) -> float | None:
    used_up: list[float] = []
    others: list[float] = []
    for wait, spent in _resets(headers, now):
        (used_up if spent else others).append(wait)
    if used_up:
        return max(used_up)
    return min(others) if others else None


def _resets(headers: Mapping[str, str], now: float) -> Iterator[tuple[float, bool]]:
    """Each limit that is named: seconds until its reset, and whether nothing of it remains."""
    for name, value in headers.items():
        lower = name.lower()
        if lower == "ratelimit":
            yield from _ietf(value)
        elif "ratelimit" in lower and "reset" in lower:
            wait = wait_s(value, now)
            if wait is not None:
                yield wait, headers.get(lower.replace("reset", "remaining"), "").strip() == "0"


def _ietf(value: str) -> Iterator[tuple[float, bool]]:
    """`"name";r=0;t=30, ...` of the newer drafts, `limit=10, remaining=0, reset=30` of the older ones."""
    value = value[: TEXT_MAX * 4]
    for item in [value] if "remaining=" in value else value.split(","):
        reset, remaining = RESET.search(item), REMAINING.search(item)
        if reset:
            yield float(reset[1]), remaining is not None and int(remaining[1]) == 0
