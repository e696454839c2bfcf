"""Errors of the OpenAI dialect, in both directions.

From an upstream: what a status, or an error object inside a 200, means to the gate. To a client: the upstream's own
words where it may see them, else ours. An upstream that refuses the gate's credential, or redirects, is never quoted:
that is between the operator and the vendor. OpenAI API reference, "Error codes"; RFC 9110 10.2.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from proxy.dialects.json_body import dumps, loads
from proxy.dialects.openai_refused import refused
from proxy.errors import REJECTIONS, Passed, ProxyError
from proxy.types import Endpoint

PASSED_BYTES_MAX = 64 * 1024
EXCERPT_CHARS_MAX = 200
RETRY_AFTER_MAX_S = 120.0

_CODES = {
    401: "upstream_auth",
    402: "upstream_quota",  # the gate's own account is empty
    403: "upstream_auth",
    404: "upstream_model_missing",
    408: "upstream_timeout",
    409: "upstream_error",
    429: "upstream_overloaded",
}
_OWN_STATUS = REJECTIONS | {"upstream_error"}  # codes that keep the upstream's status
_UNQUOTED = frozenset({"upstream_auth", "unexpected_redirect"})
_QUOTA = ("insufficient_quota", "billing", "quota_exceeded")
_WORDS = (  # for an error object without a status: words of its code and type, the first that occurs decides
    (_QUOTA, 429),
    (("rate_limit", "too_many_requests", "overloaded"), 429),
    (("api_key", "authentication", "permission", "unauthorized"), 401),
    (("model_not_found", "not_found"), 404),
    (("context_length", "content_filter", "content_policy", "invalid_request", "bad_request"), 400),
    (("timeout",), 408),
)


def failure(status: int, headers: Mapping[str, str], body: bytes) -> ProxyError:
    """What a reply with a status other than 200 means."""
    payload = _error_of(body)
    content_type = headers.get("content-type", "application/json")
    passed = Passed(status, content_type, body) if _is_dialect(payload) else None
    said = f"The upstream answered {status}: {_excerpt(payload, body)}"
    return _failure(status, payload, said=said, passed=passed, retry_after_s=_retry_after_s(headers))


def fault_of(payload: Any) -> ProxyError:
    """What an error object inside a 200 means: the error its own status would have been."""
    status = _status_of(payload)
    passed = None
    if _is_dialect(payload):
        body = _shown({"error": payload["error"]})
        passed = Passed(status, "application/json", body) if len(body) <= PASSED_BYTES_MAX else None
    said = f"The upstream reported an error: {_excerpt(payload, b'')}"
    return _failure(status, payload, said=said, passed=passed, retry_after_s=None)


def is_fault(payload: dict[str, Any]) -> bool:
    return bool(payload.get("error")) or payload.get("object") == "error"


def client_error(error: ProxyError) -> tuple[int, bytes]:
    if error.passed is not None:
        return error.passed.status, error.passed.body
    return error.status, _shown({"error": _own_words(error)})


def error_event(error: ProxyError, endpoint: Endpoint) -> bytes:
    payload = _error_of(error.passed.body) if error.passed is not None else None
    words = {**payload["error"], **error.details} if _is_dialect(payload) else _own_words(error)
    if endpoint == "responses":
        flat = {"type": "error", **{name: words.get(name) for name in ("code", "message", "param")}, **error.details}
        return b"event: error\ndata: %b\n\n" % _shown(flat)
    return b"data: %b\n\n" % _shown({"error": words})


def _failure(status: int, payload: Any, *, said: str, passed: Passed | None, retry_after_s: float | None) -> ProxyError:
    code = _code(status, payload)
    if code in _UNQUOTED:
        return ProxyError(code, _unquoted_text(code, status), retry_after_s=retry_after_s)
    return ProxyError(
        code,
        said,
        status=status if code in _OWN_STATUS else None,
        retry_after_s=retry_after_s,
        passed=passed,
    )


def _code(status: int, payload: Any) -> str:
    if status == 429 and any(word in _words_of(payload) for word in _QUOTA):
        return "upstream_quota"
    why = refused(status, _words_of(payload), _message_of(payload))
    if why is not None:
        return why
    if status in _CODES:
        return _CODES[status]
    if 300 <= status < 400:
        return "unexpected_redirect"
    if 400 <= status < 500:
        return "upstream_rejected"
    return "upstream_error" if 500 <= status < 600 else "upstream_broken"


def _unquoted_text(code: str, status: int) -> str:
    if code == "upstream_auth":
        return f"The upstream refused the gate's own credential ({status}); the operator has to mend it."
    return f"The upstream answered with a redirect ({status}); redirects are not followed."


def _status_of(payload: Any) -> int:
    """The status an in-band error would have had; 502 if it does not say."""
    error = _inner(payload)
    for name in ("status", "status_code", "code", "http_status_code"):
        value = error.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
            value = int(value)
        if type(value) is int and 400 <= value < 600:
            return value
    words = _words_of(payload)
    return next((status for some, status in _WORDS if any(word in words for word in some)), 502)


def _words_of(payload: Any) -> str:
    error = _inner(payload)
    further = error.get("innererror")  # Azure's own reason
    inner = further.get("code") if isinstance(further, dict) else None
    return f"{error.get('code')} {error.get('type')} {error.get('error_type')} {inner}".lower()


def _inner(payload: Any) -> dict[str, Any]:
    """The object that holds code, type and message, in any of the shapes engines use."""
    if not isinstance(payload, dict):
        return {}
    error = payload.get("error")
    return error if isinstance(error, dict) else payload


def _is_dialect(payload: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(payload, dict) and isinstance(payload.get("error"), dict)


def _error_of(body: bytes) -> Any:
    if len(body) > PASSED_BYTES_MAX:
        return None
    try:
        return loads(body)
    except ValueError:
        return None


def _message_of(payload: Any) -> str:
    inner = _inner(payload)
    words = (inner.get(name) for name in ("message", "error", "detail"))
    return next((word for word in words if isinstance(word, str) and word), "")


def _excerpt(payload: Any, body: bytes) -> str:
    """A short printable piece of what the upstream said."""
    text = _message_of(payload)
    if not text:
        text = body[: 4 * EXCERPT_CHARS_MAX].decode("utf-8", "replace")
    printable = "".join(char if char.isprintable() else " " for char in text[: 4 * EXCERPT_CHARS_MAX])
    return " ".join(printable.split())[:EXCERPT_CHARS_MAX] or "(nothing readable)"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if seconds >= 0 and not math.isnan(seconds):
            return min(seconds, RETRY_AFTER_MAX_S)
    return None


def _shown(payload: dict[str, Any]) -> bytes:
    try:
        return dumps(payload)
    except ValueError:  # NaN or infinity among an upstream's own fields
        return dumps({"error": {"message": "unreadable", "type": "server_error", "param": None, "code": None}})


def _own_words(error: ProxyError) -> dict[str, Any]:
    words = {"message": error.message, "type": error.openai_type, "param": error.param, "code": error.code}
    return {**words, **error.details} if error.details else words
