"""The surfaces that models are reached by: which path is which endpoint, who calls, and the call read from its bytes.

Only the paths below exist. An unknown one is refused, never forwarded unmetered. Each is served with and without
`/v1`, and under `/agents/NAME/...` and `/agents/NAME/runs/RUN/...`, so that a base URL alone can say whose call it
is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container

import msgspec
from aiohttp import web
from msgspec import Struct

from pricing.tokens import input_estimate
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.pipeline import Pipeline
from proxy.snapshot import Snapshot
from proxy.surfaces import wire
from proxy.surfaces.body import read_body
from proxy.surfaces.identify import UNATTRIBUTED, Place, identity, place, presented_key
from proxy.surfaces.server import Client, Connection, Sent
from proxy.types import Call, Endpoint, Head, Identity, KeyRecord

ENDPOINTS: dict[str, Endpoint] = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/responses": "responses",
    "/images/generations": "images",
    "/audio/speech": "speech",
    "/audio/transcriptions": "transcriptions",
    "/moderations": "moderations",
    "/rerank": "rerank",
}
HEALTH_PATHS = ("/health/live", "/health/ready", "/health", "/health/liveliness")
NOBODY = Identity(key_id="", agent=UNATTRIBUTED)
NOTHING = Head(model="")

# Not among them: `x-stainless-read-timeout`, which bounds one read of the SDK's and not the call. An SDK that gives up
# hangs up, and that ends the call here as well.
DEADLINE_HEADERS: tuple[tuple[str, float], ...] = (
    ("X-Headgate-Deadline", 1.0),
    ("x-litellm-timeout", 1.0),
    ("x-portkey-request-timeout", 0.001),
)

Readiness = Callable[[], bool]


class Services(Struct, frozen=True):
    clock: Clock
    dialect: Dialect
    pipeline: Pipeline
    snapshot: Callable[[], Snapshot]  # the present one
    ready: Readiness


class Surface:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._paths = {f"{prefix}{path}": kind for path, kind in ENDPOINTS.items() for prefix in ("", "/v1")}
        self._paths["/v2/rerank"] = "rerank"
        self._kept, self._closed = Sent(keep_alive=True), Sent(keep_alive=False)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        protocol = request.protocol
        if isinstance(protocol, Connection):
            protocol.head_arrived()
        target = request.raw_path
        path = target.partition("?")[0] if "?" in target else target
        where = place(path)
        endpoint = self._paths.get(where.path)
        if endpoint is not None and request.method == "POST":
            return await self._call(request, where, endpoint)
        return await self._other(request, where, endpoint)

    # --- calls ---------------------------------------------------------------------------------------------------

    async def _call(self, request: web.BaseRequest, where: Place, endpoint: Endpoint) -> web.StreamResponse:
        services = self._services
        snapshot = services.snapshot()
        client = Client(request, snapshot.limits.write_timeout_s)
        arrived_at = services.clock.now()
        key: KeyRecord | None = None
        raw = b""
        try:
            # The key before the body: a stranger's bytes are not worth reading.
            key = _authenticate(request, snapshot)
            longest_s = _seconds_allowed(request, snapshot.default_rules.deadline_s)
            raw = await read_body(request, snapshot.limits, longest_s)
            head = services.dialect.read(endpoint, raw, request.headers.get("Content-Type", ""))
        except ProxyError as error:
            stub = self._stub(request, where, endpoint=endpoint, key=key, arrived_at=arrived_at, raw=raw)
            await services.pipeline.refuse(stub, client, snapshot, error)
            return self._sent(client)
        except (asyncio.CancelledError, ConnectionError):
            stub = self._stub(request, where, endpoint=endpoint, key=key, arrived_at=arrived_at, raw=raw)
            left = ProxyError("client_closed", "The client left while it was sending its request.")
            await services.pipeline.refuse(stub, client, snapshot, left)
            raise
        call = self._read(request, where, (endpoint, head, raw), key=key, snapshot=snapshot, arrived_at=arrived_at)
        client.deadline = call.deadline
        await services.pipeline.serve(call, client, snapshot)
        return self._sent(client)

    def _read(
        self,
        request: web.BaseRequest,
        where: Place,
        body: tuple[Endpoint, Head, bytes],
        *,
        key: KeyRecord,
        snapshot: Snapshot,
        arrived_at: float,
    ) -> Call:
        endpoint, head, raw = body
        headers = request.headers
        who = identity(key, where, headers, head.fields)
        route = snapshot.planner.routes.find(head.model)
        id = self._services.clock.id()
        return Call(
            id=id,
            endpoint=endpoint,
            dialect="openai",
            route=route.name if route is not None else "",
            head=head,
            raw=raw,
            identity=who,
            arrived_at=arrived_at,
            arrived_wall=self._services.clock.wall(),
            deadline=arrived_at + _seconds_allowed(request, snapshot.rules(who.agent).deadline_s),
            input_tokens_estimate=input_estimate(raw),
            trace_id=_trace_id(headers.get("traceparent")) or id,
            client_retry=_small_number(headers.get("x-stainless-retry-count")),
        )

    def _stub(
        self,
        request: web.BaseRequest,
        where: Place,
        *,
        endpoint: Endpoint,
        key: KeyRecord | None,
        arrived_at: float,
        raw: bytes = b"",
    ) -> Call:
        """A call that could not be read: enough of it to be answered, counted and found again."""
        id = self._services.clock.id()
        return Call(
            id=id,
            endpoint=endpoint,
            dialect="openai",
            route="",
            head=NOTHING,
            raw=raw,
            identity=NOBODY if key is None else identity(key, where, request.headers, None),
            arrived_at=arrived_at,
            arrived_wall=self._services.clock.wall(),
            deadline=arrived_at,
            input_tokens_estimate=0,
            trace_id=_trace_id(request.headers.get("traceparent")) or id,
        )

    def _sent(self, client: Client) -> Sent:
        return self._kept if client.keep_alive else self._closed

    # --- everything else -----------------------------------------------------------------------------------------

    async def _other(self, request: web.BaseRequest, where: Place, endpoint: Endpoint | None) -> web.StreamResponse:
        path, method = where.path, request.method
        reading = method in ("GET", "HEAD")
        if path in HEALTH_PATHS:
            return self._health(path) if reading else self._allow(("GET", "HEAD"), method)
        is_models = path in ("/v1/models", "/models") or path.startswith(("/v1/models/", "/models/"))
        if is_models and reading:
            return self._models(request, where)
        if is_models or endpoint is not None:
            return self._allow(("POST",) if endpoint is not None else ("GET", "HEAD"), method)
        return await self._unknown(request, where)

    async def _unknown(self, request: web.BaseRequest, where: Place) -> web.StreamResponse:
        snapshot = self._services.snapshot()
        client = Client(request, snapshot.limits.write_timeout_s)
        now = self._services.clock.now()
        stub = self._stub(request, where, endpoint="other", key=None, arrived_at=now)
        message = (
            f"There is nothing at {request.method} {where.path[:128]}. Served are POST /v1/chat/completions, "
            "/v1/completions, /v1/embeddings, /v1/responses, audio, images, moderations, rerank, and GET /v1/models."
        )
        error = ProxyError("unknown_path", message)
        await self._services.pipeline.refuse(stub, client, snapshot, error)
        return self._sent(client)

    def _allow(self, methods: tuple[str, ...], method: str) -> web.Response:
        allow = ", ".join((*methods, "OPTIONS"))
        if method == "OPTIONS":
            return web.Response(status=204, headers=self._headers() | {"Allow": allow})
        error = ProxyError("method_not_allowed", f"{method[:16]} is not served here; use {allow}.")
        return self._plain_error(error, {"Allow": allow})

    def _health(self, path: str) -> web.Response:
        if path != "/health/ready" or self._services.ready():
            return self._json({"status": "ok"})
        return self._json({"status": "not ready"}, status=503)

    def _models(self, request: web.BaseRequest, where: Place) -> web.Response:
        """What this key and its agent may use, in OpenAI's form."""
        snapshot, path = self._services.snapshot(), where.path
        try:
            key = _authenticate(request, snapshot)
        except ProxyError as refusal:
            return self._plain_error(refusal, {})
        routes = snapshot.planner.routes
        who = identity(key, where, request.headers, None)
        of_agent = snapshot.rules(who.agent).models
        names = [name for name in routes.listed if _may_use(name, key.models) and _may_use(name, of_agent)]
        prefix = "/v1/models/" if path.startswith("/v1/") else "/models/"
        if path in ("/v1/models", "/models"):
            return self._json({"object": "list", "data": [_model(name) for name in names]})
        wanted = path[len(prefix) :]
        route = routes.find(wanted)
        if route is None or not (_may_use(route.name, key.models) and _may_use(route.name, of_agent)):
            error = ProxyError("model_not_found", f"The model {wanted[:128]!r} is not configured here.", param="model")
            return self._plain_error(error, {})
        return self._json(_model(wanted))

    def _json(self, content: object, status: int = 200) -> web.Response:
        return web.Response(status=status, body=msgspec.json.encode(content), headers=self._headers())

    def _plain_error(self, error: ProxyError, headers: dict[str, str]) -> web.Response:
        status, body = self._services.dialect.error(error)
        return web.Response(status=status, body=body, headers=self._headers() | headers)

    def _headers(self) -> dict[str, str]:
        id = self._services.clock.id()
        return {"Content-Type": "application/json", "x-request-id": id, "Server": wire.SERVER}


def _may_use(name: str, allowed: Container[str] | None) -> bool:
    return allowed is None or name in allowed


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "headgate"}


def _authenticate(request: web.BaseRequest, snapshot: Snapshot) -> KeyRecord:
    presented = presented_key(request.headers)
    key = snapshot.keyring.identify(presented)
    if key is None:
        missing = "No API key was sent" if not presented else "The API key is not valid"
        raise ProxyError("invalid_api_key", f"{missing}: use `Authorization: Bearer KEY` with a key of this gate.")
    return key


def _seconds_allowed(request: web.BaseRequest, default_s: float) -> float:
    """The caller's own deadline, in any spelling it brings along, never later than the configured one."""
    headers = request.headers
    stated = [default_s]
    for name, unit in DEADLINE_HEADERS:
        value = headers.get(name)
        if value is not None and (seconds := _positive(value)) is not None:
            stated.append(seconds * unit)
    return min(stated)


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


def _small_number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 4 else 0


def _trace_id(traceparent: str | None) -> str | None:
    """The trace id of a W3C `traceparent`, lower-case hexadecimal and not all zeros."""
    if traceparent is None or len(traceparent) < 55 or traceparent[2] != "-" or traceparent[35] != "-":
        return None
    trace = traceparent[3:35]
    if trace == "0" * 32 or any(character not in "0123456789abcdef" for character in trace):
        return None
    return trace
