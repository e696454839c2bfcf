"""What is answered without a call: health, the models that a key may use, and which methods a path takes.

None of it is metered or written down. Whether the gate is ready is decided by whoever gives `ready`.
"""

from __future__ import annotations

from collections.abc import Callable, Container

import msgspec
from msgspec import Struct

from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.snapshot import Snapshot
from proxy.surfaces.identify import Place, authenticate, identity
from proxy.surfaces.request import Request
from proxy.surfaces.wire import Headers

HEALTH_PATHS = ("/health/live", "/health/ready", "/health", "/health/liveliness")
MODELS_PATHS = ("/v1/models", "/models")
READING = ("GET", "HEAD")
CALLING = ("POST",)


class Answer(Struct, frozen=True):
    status: int
    headers: Headers
    body: bytes = b""


class Catalogue:
    def __init__(
        self,
        new_id: Callable[[], str],
        dialect: Dialect,
        ready: Callable[[], bool],
        shared: Callable[[], str] | None = None,
    ) -> None:
        """`shared`: how the store is that gates share; None: there is none."""
        self._new_id = new_id
        self._dialect = dialect
        self._ready = ready
        self._shared = shared

    def answer(self, request: Request, where: Place, snapshot: Snapshot, *, calls: bool) -> Answer | None:
        """None: there is nothing at this path. `calls`: it takes calls."""
        path, method = where.path, request.method
        if path in HEALTH_PATHS:
            return self._health(path) if method in READING else self._allow(READING, method)
        is_models = path in MODELS_PATHS or path.startswith(("/v1/models/", "/models/"))
        if is_models:
            return self._models(request, where, snapshot) if method in READING else self._allow(READING, method)
        return self._allow(CALLING, method) if calls else None

    def _allow(self, methods: tuple[str, ...], method: str) -> Answer:
        allow = ("Allow", ", ".join((*methods, "OPTIONS")))
        if method == "OPTIONS":
            return Answer(204, [*self._headers(), allow])
        refusal = self._refusal(ProxyError("method_not_allowed", f"{method[:16]} is not served here; use {allow[1]}."))
        return Answer(refusal.status, [*refusal.headers, allow], refusal.body)

    def _health(self, path: str) -> Answer:
        if path != "/health/ready" or self._ready():
            told = {} if self._shared is None else {"shared": self._shared()}
            return self._json({"status": "ok"} | told)
        return self._json({"status": "not ready"}, status=503)

    def _models(self, request: Request, where: Place, snapshot: Snapshot) -> Answer:
        """What this key and its agent may use, in OpenAI's form."""
        try:
            key = authenticate(request.headers, snapshot.keyring)
        except ProxyError as refusal:
            return self._refusal(refusal)
        routes, path = snapshot.planner.routes, where.path
        who = identity(key, where, request.headers, None)
        of_agent = snapshot.rules(who.agent).models
        if path in MODELS_PATHS:
            names = [name for name in routes.listed if _may_use(name, key.models) and _may_use(name, of_agent)]
            return self._json({"object": "list", "data": [_model(name) for name in names]})
        wanted = path[len("/v1/models/") if path.startswith("/v1/") else len("/models/") :]
        route = routes.find(wanted)
        if route is None or not (_may_use(route.name, key.models) and _may_use(route.name, of_agent)):
            unknown = f"The model {wanted[:128]!r} is not configured here."
            return self._refusal(ProxyError("model_not_found", unknown, param="model"))
        return self._json(_model(wanted))

    def _json(self, content: object, status: int = 200) -> Answer:
        return Answer(status, self._headers(), msgspec.json.encode(content))

    def _refusal(self, error: ProxyError) -> Answer:
        status, body = self._dialect.error(error)
        return Answer(status, self._headers(), body)

    def _headers(self) -> Headers:
        return [("Content-Type", "application/json"), ("x-request-id", self._new_id())]


def _may_use(name: str, allowed: Container[str] | None) -> bool:
    return allowed is None or name in allowed


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "headgate"}
