"""The one exception of the gate and the one table of its codes.

A code is a public promise: it names the side at fault, the HTTP status, and whether a retry can help. Gates return
a `ProxyError`, I/O raises it, `pipeline.serve` alone turns it into a response, in the client's dialect. Messages say
what was wrong and what would mend it; they never hold a key or a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Source = Literal["client", "policy", "upstream", "proxy", "store"]
Retry = Literal["never", "before_first_byte"]
Family = Literal["ok", "client_error", "rejected", "upstream_error", "timeout", "proxy_error", "cancelled"]


class Rule(Struct, frozen=True):
    """What a code means: side at fault, status given to the client, whether the gate itself may try again."""

    source: Source
    status: int
    retry: Retry
    client_may_retry: bool
    openai_type: str


def _rule(source: Source, status: int, openai_type: str, *, again: bool = False, client: bool = False) -> Rule:
    retry: Retry = "before_first_byte" if again else "never"
    return Rule(source=source, status=status, retry=retry, client_may_retry=client, openai_type=openai_type)


CODES: dict[str, Rule] = {
    # the caller's doing
    "invalid_request": _rule("client", 400, "invalid_request_error"),
    "invalid_json": _rule("client", 400, "invalid_request_error"),
    "unknown_path": _rule("client", 404, "invalid_request_error"),
    "method_not_allowed": _rule("client", 405, "invalid_request_error"),
    "request_too_large": _rule("client", 413, "invalid_request_error"),
    "unsupported_encoding": _rule("client", 415, "invalid_request_error"),
    "unsupported_media_type": _rule("client", 415, "invalid_request_error"),
    "expectation_failed": _rule("client", 417, "invalid_request_error"),
    "headers_too_large": _rule("client", 431, "invalid_request_error"),
    "request_timeout": _rule("client", 408, "invalid_request_error", client=True),
    "client_closed": _rule("client", 499, "invalid_request_error"),
    "invalid_api_key": _rule("client", 401, "invalid_request_error"),
    "not_found": _rule("client", 404, "invalid_request_error"),
    "model_not_found": _rule("client", 404, "invalid_request_error"),
    "too_many_hops": _rule("client", 400, "invalid_request_error"),  # not a 508: the gate before would try again
    "idempotency_conflict": _rule("client", 422, "invalid_request_error"),
    "idempotency_pending": _rule("client", 409, "invalid_request_error", client=True),
    "not_cached": _rule("client", 504, "invalid_request_error"),  # RFC 9111, 5.2.1.7
    # the operator's rules
    "not_allowed": _rule("policy", 403, "invalid_request_error"),
    "unpriced_model": _rule("policy", 402, "insufficient_quota"),
    "budget_exceeded": _rule("policy", 429, "insufficient_quota"),
    "rate_limit_exceeded": _rule("policy", 429, "rate_limit_error", client=True),
    "run_killed": _rule("policy", 403, "invalid_request_error"),
    "run_paused": _rule("policy", 429, "rate_limit_error", client=True),
    "run_limit_exceeded": _rule("policy", 403, "invalid_request_error"),
    "loop_detected": _rule("policy", 403, "invalid_request_error"),  # not a 429: the same again changes nothing
    "run_width_exceeded": _rule("policy", 429, "rate_limit_error", client=True),
    "debate_too_expensive": _rule("policy", 403, "invalid_request_error"),
    "run_gate_full": _rule("policy", 429, "rate_limit_error", client=True),
    "run_gate_timeout": _rule("policy", 503, "server_error"),  # whoever asks again at once waits behind the others
    "deadline_exceeded": _rule("policy", 504, "timeout_error"),
    "overloaded": _rule("policy", 503, "server_error"),  # clients that ask again at once are what keeps it so
    # the upstream's doing
    "upstream_unreachable": _rule("upstream", 502, "server_error", again=True, client=True),
    "upstream_timeout": _rule("upstream", 504, "timeout_error", again=True, client=True),
    "upstream_overloaded": _rule("upstream", 429, "rate_limit_error", again=True, client=True),
    "upstream_quota": _rule("upstream", 429, "insufficient_quota", again=True),
    "upstream_error": _rule("upstream", 502, "server_error", again=True, client=True),
    "upstream_rejected": _rule("upstream", 400, "invalid_request_error"),
    "context_length_exceeded": _rule("upstream", 400, "invalid_request_error"),
    "content_filter": _rule("upstream", 400, "invalid_request_error"),
    "upstream_auth": _rule("upstream", 502, "server_error", again=True),
    "upstream_model_missing": _rule("upstream", 404, "invalid_request_error"),
    "upstream_broken": _rule("upstream", 502, "server_error", again=True, client=True),
    "upstream_stalled": _rule("upstream", 504, "timeout_error", again=True, client=True),
    "upstream_too_large": _rule("upstream", 502, "server_error"),
    "unexpected_redirect": _rule("upstream", 502, "server_error", again=True),
    # ours
    "internal": _rule("proxy", 500, "server_error", client=True),
    "shutting_down": _rule("proxy", 503, "server_error", client=True),
    "ledger_unavailable": _rule("store", 503, "server_error", client=True),
    "storage_unavailable": _rule("store", 503, "server_error", client=True),
}

# The request was at fault, as the upstream sees it: that says nothing of the upstream.
REJECTIONS = frozenset({"upstream_rejected", "context_length_exceeded", "content_filter"})
TIMEOUTS = frozenset({"upstream_timeout", "upstream_stalled", "deadline_exceeded"})


class Passed(Struct, frozen=True):
    """An upstream's own error reply, kept so that a client of the same dialect sees it as it was."""

    status: int
    content_type: str
    body: bytes


class ProxyError(Exception):
    """Anything that ends an attempt or a call; `code` is a key of `CODES`."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        passed: Passed | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        sent: bool = True,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        rule = CODES[code]
        self.code = code
        self.message = message
        self.param = param
        self.source: Source = rule.source
        self.status = rule.status if status is None else status
        self.retry: Retry = rule.retry
        self.client_may_retry = rule.client_may_retry
        self.openai_type = rule.openai_type
        self.retry_after_s = retry_after_s
        self.passed = passed
        self.headers = headers  # the upstream's hints that the client may see
        self.details = details or {}  # further members of the error object, in any dialect
        self.forwarded = False  # the client has the upstream's own error event; it is not said again
        self.sent = sent  # False: not one byte reached the upstream, so nothing can have been billed

    def __repr__(self) -> str:
        return f"ProxyError({self.code!r}, {self.status}, {self.message!r})"


def family(code: str | None, source: str | None, client_gone: bool) -> Family:
    """The closed list that metrics label a call's end with."""
    if client_gone:
        return "cancelled"
    if code is None:
        return "ok"
    if code in TIMEOUTS:
        return "timeout"
    if source == "client":
        return "client_error"
    if source == "policy":
        return "rejected"
    return "upstream_error" if source == "upstream" else "proxy_error"
