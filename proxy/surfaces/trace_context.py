"""The trace that a request belongs to: W3C Trace Context, `traceparent` (Recommendation of 2021)."""

from __future__ import annotations

NOWHERE = ("", "")
DIGITS = frozenset("0123456789abcdef")


def continued(traceparent: str | None) -> tuple[str, str]:
    """Trace id and the caller's span id, in lower-case hexadecimal digits; empty where there is none that is valid."""
    if traceparent is None or len(traceparent) < 55 or traceparent[:2] == "ff":
        return NOWHERE
    if traceparent[2] != "-" or traceparent[35] != "-" or traceparent[52] != "-":
        return NOWHERE
    trace, span = traceparent[3:35], traceparent[36:52]
    if not DIGITS.issuperset(trace) or not DIGITS.issuperset(span) or not trace.strip("0") or not span.strip("0"):
        return NOWHERE
    return trace, span
