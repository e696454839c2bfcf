"""What one outcome means in the closed lists of the metrics: pure functions over the record of a call."""

from __future__ import annotations

from typing import Literal

from proxy.errors import CODES
from proxy.telemetry.catalog import STATUSES
from proxy.types import Attempt, Outcome

ENDPOINTS = {"images": "media", "speech": "media", "transcriptions": "media", "moderations": "other", "rerank": "other"}
BOUNDS = {
    "request_too_large": "request_body",
    "headers_too_large": "request_headers",
    "upstream_too_large": "upstream_reply",
    "overloaded": "calls",
}
BROKEN = {
    "upstream_unreachable": "connect",
    "upstream_timeout": "timeout",
    "upstream_stalled": "timeout",
    "deadline_exceeded": "timeout",
    "upstream_overloaded": "http_429",
    "upstream_quota": "http_429",
}


def attempt_result(attempt: Attempt) -> str:
    """How an attempt ended: by the upstream's status if it refused, else by the code."""
    code, status = attempt.error_code, attempt.status
    if code is None:
        return "ok" if attempt.lesson == "success" else "cancelled"
    if status is not None and status >= 400:
        return "http_429" if status == 429 else "http_5xx" if status >= 500 else "http_4xx"
    known = BROKEN.get(code)
    if known is not None:
        return known
    rule = CODES.get(code)
    if rule is None or rule.source != "upstream":
        return "cancelled"  # the client, a rule or the gate itself ended it
    # Without a status the connection went before the reply began; with one, the reply could not be used.
    return "reset" if status is None and code == "upstream_broken" else "bad_stream"


def aborted_by(outcome: Outcome) -> Literal["client", "upstream", "proxy"] | None:
    """The side that broke off a stream after its first byte; None if it was not broken off."""
    if outcome.first_event_s is None or not outcome.call.head.stream:
        return None
    if outcome.client_gone:
        return "client"
    if outcome.error_code is None:
        return None
    return "upstream" if outcome.error_source == "upstream" else "proxy"


def token_seconds(outcome: Outcome) -> float | None:
    """Mean seconds between a stream's tokens; None where there is no second token to measure by."""
    first, last = outcome.first_event_s, outcome.last_event_s
    if first is None or last is None or last <= first or not outcome.attempts:
        return None
    usage = outcome.attempts[-1].usage
    tokens = usage.output_total if usage is not None else 0
    return (last - first) / (tokens - 1) if tokens > 1 else None


def status_label(status: int) -> str:
    text = str(status)
    return text if text in STATUSES else f"{status // 100}xx"
