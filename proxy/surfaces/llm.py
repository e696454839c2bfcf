"""The surfaces that models are reached by: which path is which endpoint, who calls, and the call read from its bytes.

Only the paths below exist. An unknown one is refused, never forwarded unmetered. Each is served with and without
`/v1`, and under `/agents/NAME/...` and `/agents/NAME/runs/RUN/...`, so that a base URL alone can say whose call it
is.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

from msgspec import Struct, structs

from policies.tiers import lowered
from pricing.tokens import input_estimate
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.pipeline import Pipeline
from proxy.reuse import Reuse
from proxy.snapshot import Snapshot
from proxy.surfaces.batches import BatchSurface
from proxy.surfaces.body import read_body
from proxy.surfaces.catalogue import Catalogue
from proxy.surfaces.client import Client
from proxy.surfaces.connection import Connection
from proxy.surfaces.controls import reuse_of
from proxy.surfaces.identify import UNATTRIBUTED, Place, authenticate, identity, place
from proxy.surfaces.overheard import Keeps, Overheard, keeping, kept_headers, presented
from proxy.surfaces.request import Request
from proxy.surfaces.trace_context import continued
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
NOBODY = Identity(key_id="", agent=UNATTRIBUTED)
NOTHING = Head(model="")

# Not among them: `x-stainless-read-timeout`, which bounds one read of the SDK's and not the call. An SDK that gives up
# hangs up, and that ends the call here as well.
DEADLINE_HEADERS: tuple[tuple[str, float], ...] = (
    ("x-headgate-deadline", 1.0),
    ("x-litellm-timeout", 1.0),
    ("x-portkey-request-timeout", 0.001),
)
NO = frozenset({"off", "no", "false", "0"})
YES = frozenset({"on", "yes", "true", "1"})
# What few calls say; how, stands in `_as_wished`.
WISHES = frozenset(
    {"x-headgate-hops", "x-headgate-hedge", "x-headgate-loop", "x-headgate-critical-path", "x-headgate-votes"}
)
DEADLINE_NAMES = frozenset(name for name, _ in DEADLINE_HEADERS)

Readiness = Callable[[], bool]


class Services(Struct, frozen=True):
    clock: Clock
    dialect: Dialect
    pipeline: Pipeline
    snapshot: Callable[[], Snapshot]  # the present one
    ready: Readiness
    content: Keeps | None = None  # None: no agent's words are kept
    batches: BatchSurface | None = None  # None: nobody runs them
    shared: Callable[[], str] | None = None  # whether the store that gates share is `ok` or `out`; None: there is none


class Asked(Struct, frozen=True):
    """A request, and what is known of it before it is read."""

    request: Request
    where: Place
    endpoint: Endpoint
    snapshot: Snapshot
    arrived_at: float


class Surface:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._paths = {f"{prefix}{path}": kind for path, kind in ENDPOINTS.items() for prefix in ("", "/v1")}
        self._paths["/v2/rerank"] = "rerank"
        self._catalogue = Catalogue(services.clock.id, services.dialect, services.ready, services.shared)

    async def handle(self, request: Request, connection: Connection) -> bool:
        """Answers it, and says whether the connection can be used again."""
        services, target = self._services, request.target
        where = place(target.partition("?")[0] if "?" in target else target)
        endpoint = self._paths.get(where.path)
        snapshot = services.snapshot()
        client = Client(request, connection, snapshot.limits.write_timeout_s)
        asked = Asked(request, where, endpoint or "other", snapshot, services.clock.now())
        if endpoint is not None and request.method == "POST":
            await self._call(asked, client, connection)
        elif services.batches is not None and await services.batches.answered(
            request, connection, client, where=where, snapshot=snapshot
        ):
            return client.keep_alive
        elif (answer := self._catalogue.answer(request, where, snapshot, calls=endpoint is not None)) is not None:
            await client.whole(answer.status, answer.headers, answer.body)
        else:
            await self._unknown(asked, client)
        return client.keep_alive

    async def _call(self, asked: Asked, client: Client, connection: Connection) -> None:
        services, request, snapshot = self._services, asked.request, asked.snapshot
        key: KeyRecord | None = None
        raw = b""
        try:
            # The key before the body: a stranger's bytes are not worth reading.
            key = authenticate(request.headers, snapshot.keyring)
            stated_s = _seconds_stated(request.headers)
            longest_s = min(stated_s, snapshot.default_rules.deadline_s)
            raw = await read_body(request, connection, limits=snapshot.limits, seconds_allowed=longest_s)
            head = services.dialect.read(asked.endpoint, raw, request.headers.get("content-type", ""))
            reuse = reuse_of(request.headers, head.reuse)
        except ProxyError as error:
            await services.pipeline.refuse(self._stub(asked, key, raw), client, snapshot, error)
            return
        except (asyncio.CancelledError, ConnectionError):
            left = ProxyError("client_closed", "The client left while it was sending its request.")
            await services.pipeline.refuse(self._stub(asked, key, raw), client, snapshot, left)
            raise
        call = self._read(asked, key, raw, head=head, stated_s=stated_s, reuse=reuse)
        client.deadline = call.deadline
        if snapshot.keeps_content:
            await self._overheard(call, client, asked)
        else:
            await services.pipeline.serve(call, client, snapshot)

    async def _overheard(self, call: Call, client: Client, asked: Asked) -> None:
        """Served as any other; what its agent's policy allows of its words is kept."""
        services, snapshot, headers = self._services, asked.snapshot, asked.request.headers
        allowed = keeping(snapshot.rules(call.identity.agent).content, headers, call.head.fields)
        if allowed is None or services.content is None:
            await services.pipeline.serve(call, client, snapshot)
            return
        heard = services.content.begin(call, allowed, headers=kept_headers(headers), presented=presented(headers))
        try:
            await services.pipeline.serve(call, Overheard(client, heard), snapshot)
        finally:
            services.content.end(heard)

    def _read(
        self, asked: Asked, key: KeyRecord, raw: bytes, *, head: Head, stated_s: float, reuse: Reuse | None
    ) -> Call:
        headers, snapshot, clock = asked.request.headers, asked.snapshot, self._services.clock
        who = identity(key, asked.where, headers, head.fields)
        route = snapshot.planner.routes.find(head.model)
        id, rules = clock.id(), snapshot.rules(who.agent)
        priority = lowered(rules.priority, headers.get("x-headgate-priority"))
        trace_id, parent_span = continued(headers.get("traceparent"))
        call = Call(  # the first by position: see `Outcome` in `finish`
            id,
            asked.endpoint,
            "openai",
            route.name if route is not None else "",
            head,
            raw,
            who,
            asked.arrived_at,
            clock.wall(),
            asked.arrived_at + min(stated_s, rules.window_s if priority == "batch" else rules.deadline_s),
            input_estimate(raw),
            trace_id or id,
            parent_span=parent_span,
            client_retry=_small_number(headers.get("x-stainless-retry-count")),
            priority=priority,
            reuse=reuse,
            hedged=rules.hedge,
        )
        return call if WISHES.isdisjoint(headers) else _as_wished(call, headers)

    def _stub(self, asked: Asked, key: KeyRecord | None, raw: bytes) -> Call:
        """A call that could not be read: enough of it to be answered, counted and found again."""
        headers, clock = asked.request.headers, self._services.clock
        id = clock.id()
        trace_id, parent_span = continued(headers.get("traceparent"))
        return Call(
            id=id,
            endpoint=asked.endpoint,
            dialect="openai",
            route="",
            head=NOTHING,
            raw=raw,
            identity=NOBODY if key is None else identity(key, asked.where, headers, None),
            arrived_at=asked.arrived_at,
            arrived_wall=clock.wall(),
            deadline=asked.arrived_at,
            input_tokens_estimate=0,
            trace_id=trace_id or id,
            parent_span=parent_span,
        )

    async def _unknown(self, asked: Asked, client: Client) -> None:
        message = (
            f"There is nothing at {asked.request.method} {asked.where.path[:128]}. Served are POST "
            "/v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses, audio, images, moderations, rerank, "
            "/v1/files, /v1/batches, and GET /v1/models."
        )
        error = ProxyError("unknown_path", message)
        await self._services.pipeline.refuse(self._stub(asked, None, b""), client, asked.snapshot, error)


def _as_wished(call: Call, headers: Mapping[str, str]) -> Call:
    return structs.replace(
        call,
        hops=_small_number(headers.get("x-headgate-hops")),
        hedged=call.hedged and headers.get("x-headgate-hedge", "").lower() not in NO,
        loop_allowed=headers.get("x-headgate-loop", "").strip().lower() == "allow",
        hurry="critical" if headers.get("x-headgate-critical-path", "").lower() in YES else "usual",
        votes_shown=headers.get("x-headgate-votes", "").lower() in YES,
    )


def _seconds_stated(headers: Mapping[str, str]) -> float:
    """The caller's own deadline, the shortest of those it brings along; infinite without any."""
    if DEADLINE_NAMES.isdisjoint(headers):  # as with most calls
        return math.inf
    stated_s = math.inf
    for name, unit_s in DEADLINE_HEADERS:
        value = headers.get(name)
        if value is not None and (number := _positive(value)) is not None:
            stated_s = min(stated_s, number * unit_s)
    return stated_s


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


def _small_number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 4 else 0
