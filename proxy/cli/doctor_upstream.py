"""What `headgate doctor` asks of each provider: does its name resolve, does it answer, does it take the key, what time
does it think it is.

One `GET /models` each, which is free; the key goes to the configured address and nowhere else, and no redirect is
followed. What a provider answers is looked at for its status and its date alone.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from proxy.cli.doctor_finding import Finding
from proxy.clock import SystemClock
from proxy.config.providers import OpenAIProvider, SimulatedProvider
from proxy.providers.engines import ENGINES

TIMEOUT_S: Final = 5.0
SKEW_WARNING_S, SKEW_FAILED_S = 5.0, 60.0  # a date has whole seconds, and took a moment to come
MS: Final = 1000.0


class Visit(Struct, frozen=True):
    """Findings about one provider, and by how many seconds its clock is ahead of ours, where it said."""

    findings: tuple[Finding, ...]
    ahead_s: float | None = None


def visit(name: str, settings: OpenAIProvider | SimulatedProvider) -> Visit:
    check = f"provider {name}"
    if isinstance(settings, SimulatedProvider):
        return Visit((Finding(check, "ok", "SIMULATED, inside the gate"),))
    url = urlsplit(settings.base_url)
    host = url.hostname or ""
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Visit((Finding(check, "failed", f"{host} does not resolve: {error}", "see its base_url, and DNS"),))
    return _asked(check, settings, url, addresses=len({entry[4][0] for entry in addresses}))


def _asked(check: str, settings: OpenAIProvider, url: SplitResult, *, addresses: int) -> Visit:
    clock = SystemClock()
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=TIMEOUT_S)
    began_at = clock.now()
    try:
        connection.request("GET", _path(settings, url), headers=_headers(settings))
        reply = connection.getresponse()
    except (OSError, HTTPException) as error:
        why = f"no certificate that is trusted: {error}" if isinstance(error, ssl.SSLError) else str(error)
        remedy = "is it running, and may this machine reach it?"
        return Visit((Finding(check, "failed", f"{url.netloc} does not answer: {why}", remedy),))
    finally:
        connection.close()
    took_s = clock.now() - began_at
    heard = f"{addresses} address{'es' if addresses > 1 else ''}, answered {reply.status} in {took_s * MS:.0f} ms"
    return Visit((_judged(check, reply.status, heard),), _ahead_s(reply, clock.wall() - took_s / 2))


def _judged(check: str, status: int, heard: str) -> Finding:
    if status in (401, 403):
        return Finding(check, "failed", f"{heard}: it refuses the key", "see its api_key")
    if status >= 500:
        return Finding(check, "warning", f"{heard}: it is not well", "calls go to other targets while it is out")
    if 300 <= status < 400:
        return Finding(check, "warning", f"{heard}: it is somewhere else", "see its base_url")
    return Finding(check, "ok", heard)  # also a 404: not every engine has a list of models


def _path(settings: OpenAIProvider, url: SplitResult) -> str:
    query = f"?api-version={settings.api_version}" if settings.api_version else ""
    base = url.path.rstrip("/")
    if settings.engine == "azure":
        base = base.partition("/openai")[0] + ("/openai" if settings.api_version else "/openai/v1")
    return f"{base}/models{query}"


def _headers(settings: OpenAIProvider) -> dict[str, str]:
    headers = {name: value.reveal() for name, value in settings.headers.items()}
    if settings.api_key is None:
        return headers
    key, header = settings.api_key.reveal(), ENGINES[settings.engine].key_header
    return headers | {header: f"Bearer {key}" if header == "Authorization" else key}


def _ahead_s(reply: HTTPResponse, ours: float) -> float | None:
    try:
        date = reply.headers["Date"]
        return (
            None if date is None else parsedate_to_datetime(date).timestamp() + 0.5 - ours
        )  # the middle of its second
    except (ValueError, OverflowError):
        return None


def clock(ahead_s: Iterable[float | None]) -> Finding:
    """By the median of what the providers said: one of them may be wrong itself."""
    known = sorted(each for each in ahead_s if each is not None)
    if not known:
        return Finding("clock", "skipped", "no provider said what time it is")
    off_s = known[len(known) // 2]
    words = f"this machine is {abs(off_s):.1f} s {'behind' if off_s > 0 else 'ahead of'} the providers"
    remedy = "run an NTP client: budgets reset by the clock"
    if abs(off_s) > SKEW_FAILED_S:
        return Finding("clock", "failed", words, remedy)
    return Finding("clock", "warning", words, remedy) if abs(off_s) > SKEW_WARNING_S else Finding("clock", "ok", words)
