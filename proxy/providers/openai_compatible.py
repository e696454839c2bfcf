"""A provider that speaks OpenAI's dialect: one account at a vendor, or one engine of one's own.

It decides the address and the headers of a request and is the only holder of the account's credential, which goes to
that address and nowhere else. Of the client's request only the body travels, written by the dialect, and the boundary
of a multipart body; none of its headers do. What comes back is cleared of the credential: whole events, bodies and
error texts are looked at one at a time, so nothing is held back for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from msgspec import Struct
from msgspec.json import encode

from pricing.gpu import GpuMeter
from pricing.prompt_caches import CacheRule, rule_of
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.providers.base import Transport, UpstreamRequest, header_lines
from proxy.providers.engines import ENGINES, PATHS
from proxy.providers.hints import retry_after_s
from proxy.telemetry.span import span_id
from proxy.types import Call, Endpoint, Target

HINTING = frozenset({408, 409})  # statuses below 429 that may be asked again
HOP_SHARE, HOP_S = 0.02, 0.05  # of the time that is left, and more, kept for the way there and back
USER_AGENT = "headgate/0.1.0"
SECRET_LENGTH_MIN = 12  # a local engine's key may be a word like "none", which answers may well contain
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(r"[\t -~]*")
RESERVED = frozenset(
    {"accept", "accept-encoding", "authorization", "api-key", "connection", "content-length", "content-type", "cookie"}
    | {"expect", "host", "te", "traceparent", "trailer", "transfer-encoding", "upgrade"}
)
DEPLOYED = frozenset(PATHS) - {"responses"}  # endpoints whose deployment Azure wants in the path
RULES_FOUND_MAX = 256  # names of models may come from clients
NOT_JSON: frozenset[Endpoint] = frozenset({"speech", "transcriptions"})


class Account(Struct, frozen=True):
    """What the configuration says of one provider."""

    engine: str = "openai"
    base_url: str | None = None  # None: the vendor's own
    api_key: str | None = None
    api_version: str | None = None  # Azure only; None: its version-less v1 form
    headers: tuple[tuple[str, str], ...] = ()  # further ones, their values as secret as the key
    traceparent: bool = False  # whether the vendor is told the trace id
    deadline_header: bool | None = None  # whether it is told how much time is left; None: by engine
    health: str = "auto"  # a path beside `/v1`, or `off`; `auto`: by engine
    checked: bool = False  # its health is asked for also while all is well
    prompt_caches: tuple[CacheRule, ...] = ()  # by model, the first that fits; empty: it is told nothing of caching

    def __repr__(self) -> str:
        return f"Account({self.engine}, {self.base_url})"


class OpenAICompatible:
    def __init__(self, name: str, account: Account, *, dialect: Dialect, transport: Transport, clock: Clock) -> None:
        """Raises ValueError for an account that cannot work."""
        self.name = name
        self.dialect = dialect
        self.transport = transport
        self.gpu: GpuMeter | None = None
        self.checked = account.checked
        self._clock = clock
        self._engine = ENGINES[account.engine]
        self._prompt_caches = account.prompt_caches
        self._rules_found: dict[str, CacheRule | None] = {}
        self._traceparent = account.traceparent
        told = account.deadline_header
        self._tells_deadline = self._engine.deadline_header if told is None else told
        self._deployed_at, self._query = "", ""
        base = _base_url(account, self._engine.base_url)
        if account.engine == "azure":
            base = base.partition("/openai")[0] + "/openai"
            if account.api_version is None:
                base += "/v1"
            else:
                self._deployed_at = base + "/deployments/"
                self._query = f"?api-version={quote(account.api_version, safe='')}"
        self._urls = {endpoint: f"{base}{path}{self._query}" for endpoint, path in PATHS.items()}
        common = _common_headers(account, self._engine.key_header)
        self._headers = {
            accept: {**common, "Content-Type": "application/json", "Accept": accept}
            for accept in ("application/json", "text/event-stream", "*/*")
        }
        self._lines = {accept: header_lines(headers) for accept, headers in self._headers.items()}
        self._health = self._health_of(account.health, base)
        self._load = None if self._engine.load is None else self._get(base.removesuffix("/v1") + self._engine.load)
        self._secrets = _forms([account.api_key or "", *[value for _, value in account.headers]])

    def __repr__(self) -> str:
        return f"OpenAICompatible({self.name}, {self._urls['chat']})"

    def request(self, call: Call, target: Target, output_limit: int | None = None) -> UpstreamRequest:
        endpoint = call.endpoint
        if endpoint not in self._engine.serves:
            path = PATHS[endpoint]
            raise ProxyError("unknown_path", f"The provider {self.name} of {call.model} has no {path}.", sent=False)
        body = self.dialect.write(call, target, output_limit)
        accept = _accept(call)
        if call.head.fields is not None and not (self._traceparent or self._tells_deadline):
            headers, lines = self._headers[accept], self._lines[accept]
        else:
            headers, lines = self._headers_of(call, target, accept), b""
        return UpstreamRequest("POST", self._url(endpoint, target), headers, body, lines)

    def prompt_cache(self, model: str) -> CacheRule | None:
        if not self._prompt_caches:
            return None
        found = self._rules_found
        if model not in found:
            if len(found) >= RULES_FOUND_MAX:
                found.clear()
            found[model] = rule_of(self._prompt_caches, model)
        return found[model]

    def health(self) -> UpstreamRequest | None:
        return self._health

    def load(self) -> UpstreamRequest | None:
        return self._load

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> ProxyError:
        body = self.redact(body)
        error = self.dialect.failure(status, headers, body)
        if status >= 429 or status in HINTING:
            error.retry_after_s = retry_after_s(headers, body, self._clock.wall())
        return error

    def redact(self, data: bytes) -> bytes:
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, b"*" * len(secret))  # as long as it was: lengths and offsets stay true
        return data

    def held_back(self, data: bytes) -> int:
        longest = 0
        for secret in self._secrets:
            for size in range(min(len(secret) - 1, len(data)), longest, -1):
                if data.endswith(secret[:size]):
                    longest = size
                    break
        return longest

    def _health_of(self, health: str, base: str) -> UpstreamRequest | None:
        if health == "off":
            return None
        path = self._engine.health if health == "auto" else health
        url = f"{base}/models{self._query}" if path is None else base.removesuffix("/v1") + path
        return self._get(url)

    def _get(self, url: str) -> UpstreamRequest:
        return UpstreamRequest("GET", url, self._headers["application/json"], b"", self._lines["application/json"])

    def _url(self, endpoint: Endpoint, target: Target) -> str:
        if self._deployed_at and endpoint in DEPLOYED:
            return f"{self._deployed_at}{quote(target.model, safe='')}{PATHS[endpoint]}{self._query}"
        return self._urls[endpoint]

    def _headers_of(self, call: Call, target: Target, accept: str) -> dict[str, str]:
        """Those of a call that adds its own."""
        headers = self._headers[accept]
        if call.head.fields is None:
            headers = {**headers, "Content-Type": call.head.content_type}  # its boundary is in the body
        if self._traceparent:
            headers = {**headers, "traceparent": f"00-{call.trace_id}-{span_id(call.id, target.id)}-01"}
        if self._tells_deadline:
            left_s = max(0.0, (call.deadline - self._clock.now()) * (1 - HOP_SHARE) - HOP_S)
            headers = {**headers, "X-Headgate-Deadline": f"{left_s:.3f}", "X-Headgate-Hops": str(call.hops + 1)}
        return headers


def _accept(call: Call) -> str:
    if call.head.stream:
        return "text/event-stream"
    return "*/*" if call.endpoint in NOT_JSON else "application/json"


def _base_url(account: Account, default: str | None) -> str:
    base = account.base_url or default
    if base is None:
        raise ValueError(f"engine {account.engine} has no address of its own: base_url is needed")
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("base_url must be an http(s) address")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("base_url may hold no user, password, query or fragment")
    return base.rstrip("/")


def _common_headers(account: Account, key_header: str) -> dict[str, str]:
    given = {name.lower() for name, _ in account.headers}
    if given & RESERVED:
        raise ValueError(f"the gate itself sets {', '.join(sorted(given & RESERVED))}")
    headers = {"Accept-Encoding": "identity", **dict(account.headers)}
    if "user-agent" not in given:
        headers["User-Agent"] = USER_AGENT
    if account.api_key:
        headers[key_header] = f"Bearer {account.api_key}" if key_header == "Authorization" else account.api_key
    for name, value in headers.items():
        if not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            raise ValueError(f"the header {name!r} cannot be sent: a name is a token, a value printable ASCII")
    return headers


def _forms(secrets: list[str]) -> tuple[bytes, ...]:
    """Each secret as it is, as it stands in JSON, and as it stands in a URL."""
    forms: dict[bytes, None] = {}
    for secret in secrets:
        if len(secret) >= SECRET_LENGTH_MIN:
            plain = secret.encode()
            in_json = encode(secret)[1:-1]
            forms.update(
                dict.fromkeys((plain, in_json, in_json.replace(b"/", b"\\/"), quote(secret, safe="").encode()))
            )
    return tuple(forms)
