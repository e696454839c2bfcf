"""The admin listener: metrics, reports from the ledger, keys, the configuration in force, reload.

It has a listener and a credential of its own, because who may call models may not see the books; `admin_guard` keeps
the door. Nothing is configured over HTTP but keys. Names come from clients: they leave here as JSON, never as HTML.
What an answer holds is decided by whoever gives it: each service is handed in, none is reached for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Literal, Protocol, get_args

from msgspec import Meta, Struct

from proxy.errors import ProxyError
from proxy.money.outlook import Query
from proxy.secret import Secret
from proxy.surfaces.admin_batches import BatchRoutes
from proxy.surfaces.admin_batches import Desk as BatchDesk
from proxy.surfaces.admin_budgets import BUDGETS_MAX, BudgetRequest, BudgetRoutes
from proxy.surfaces.admin_caches import CacheRoutes
from proxy.surfaces.admin_caches import Desk as CacheDesk
from proxy.surfaces.admin_cascades import CascadeRoutes
from proxy.surfaces.admin_cascades import Desk as CascadeDesk
from proxy.surfaces.admin_content import ContentRoutes, ContentServices
from proxy.surfaces.admin_events import EventRoutes
from proxy.surfaces.admin_experiments import Desk as ExperimentDesk
from proxy.surfaces.admin_experiments import ExperimentRoutes
from proxy.surfaces.admin_guard import Audit, Guard, Rules
from proxy.surfaces.admin_ledger import LedgerRoutes, LedgerServices
from proxy.surfaces.admin_load import LoadRoutes
from proxy.surfaces.admin_route import AdminRequest, Reply, Route, json_reply
from proxy.surfaces.admin_runs import RunRoutes, RunServices
from proxy.surfaces.console import ConsoleRoutes
from proxy.surfaces.feed import Feed
from proxy.surfaces.query import instant_ms, limit, number, one_of, parameters, status
from proxy.types import KeyRecord, ServedBy

WINDOW = ("since", "limit", "before")
YES = frozenset({"on", "yes", "true", "1"})

Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
TeamName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]  # as the configuration has them


class Reports(Protocol):
    """Each answer is a value that can be sent as JSON; None where nothing has that id."""

    async def spend(self, by: str, since_ms: int | None = None, *, until_ms: int | None = None) -> Struct: ...
    async def agents(self, since_ms: int | None = None) -> Sequence[Struct]: ...
    async def usage(self, by: str, since_ms: int | None = None) -> Struct: ...
    async def requests(
        self, filters: Mapping[str, str], limit: int, *, since_ms: int | None = None, before: int | None = None
    ) -> Struct: ...
    async def request(self, id: str) -> Struct | None: ...


class StoredKey(Protocol):
    @property
    def record(self) -> KeyRecord: ...
    @property
    def created_wall(self) -> float: ...
    @property
    def revoked_wall(self) -> float | None: ...
    @property
    def budget(self) -> tuple[str, ...]: ...


class KeyStore(Protocol):
    def create(
        self,
        agent: str | None,
        *,
        team: str | None = None,
        models: tuple[str, ...] | None = None,
        lasts_s: float | None = None,
        budget: tuple[str, ...] = (),
    ) -> tuple[KeyRecord, str]: ...
    def revoke(self, id: str) -> bool: ...
    def list(self) -> Sequence[StoredKey]: ...


class AdminServices(Struct, frozen=True):
    reports: Reports
    runs: RunServices
    budgets: Callable[[Query], Struct]
    ledger: LedgerServices
    batches: BatchDesk
    caches: CacheDesk
    cascades: CascadeDesk
    content: ContentServices
    experiments: ExperimentDesk
    keys: KeyStore
    # For an Accept header and a view: exposition and its content type.
    metrics: Callable[[str, Literal["headgate", "otel"]], Awaitable[tuple[bytes, str]]]
    loadtest: Callable[[str, str, int], None]  # what one says of itself: its name, its scenario, its users
    config: Callable[[], object]  # the effective configuration, secrets masked
    targets: Callable[[], Awaitable[object]]
    reload: Callable[[], Awaitable[str | None]]  # None: swapped; else why the old configuration was kept
    wall: Callable[[], float]
    audit: Callable[[Audit], None]
    about: Callable[[], Struct]
    feed: Feed
    token: Secret | None = None
    hosts: frozenset[str] = frozenset()  # names beside the loopback ones, without port
    key_errors: tuple[type[Exception], ...] = ()  # what `keys` raises when its file cannot be used
    gates: Callable[[], object] = list  # of runs; by default there are none


class KeyRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /keys."""

    agent: Name | None = None  # absent: the caller may name its own
    team: TeamName | None = None
    models: Annotated[tuple[Name, ...], Meta(max_length=100)] | None = None
    lasts_s: Annotated[float, Meta(gt=0, le=3.2e9)] | None = None
    budget: Annotated[tuple[BudgetRequest, ...], Meta(max_length=BUDGETS_MAX)] = ()

    def __post_init__(self) -> None:
        self.limits()

    def limits(self) -> tuple[str, ...]:
        """As a key keeps them."""
        return tuple([each.text() for each in self.budget])


def admin_surface(services: AdminServices) -> Guard:
    rules = Rules(services.audit, services.token, services.hosts, services.key_errors)
    return Guard(rules, admin_routes(services))


def admin_routes(services: AdminServices) -> list[Route]:
    admin = _Admin(services)
    return [
        *ConsoleRoutes().routes(),
        *EventRoutes(services.feed).routes(),
        Route("GET", "/about", admin.about),
        Route("GET", "/health/live", admin.live),
        Route("GET", "/metrics", admin.metrics),
        Route("GET", "/spend", admin.spend),
        Route("GET", "/agents", admin.agents),
        Route("GET", "/usage", admin.usage),
        *RunRoutes(services.runs).routes(),
        *BudgetRoutes(services.budgets).routes(),
        *LedgerRoutes(services.ledger).routes(),
        *BatchRoutes(services.batches).routes(),
        *CacheRoutes(services.caches).routes(),
        *LoadRoutes(services.loadtest).routes(),
        *CascadeRoutes(services.cascades, services.runs.views).routes(),
        *ContentRoutes(services.content).routes(),
        *ExperimentRoutes(services.experiments).routes(),
        Route("GET", "/requests", admin.requests),
        Route("GET", "/requests/{id}", admin.request),
        Route("GET", "/keys", admin.keys),
        Route("POST", "/keys", admin.create_key),
        Route("DELETE", "/keys/{id}", admin.revoke_key),
        Route("GET", "/config", admin.config),
        Route("GET", "/targets", admin.targets),
        Route("GET", "/gates", admin.gates),
        Route("POST", "/reload", admin.reload),
    ]


class _Admin:
    def __init__(self, services: AdminServices) -> None:
        self._services = services

    async def about(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(self._services.about())

    async def live(self, asked: AdminRequest) -> Reply:
        return json_reply({"status": "live"})

    async def metrics(self, asked: AdminRequest) -> Reply:
        accept, given = asked.headers.get("accept", ""), parameters(asked.query, None).get("view", "headgate")
        if given not in ("headgate", "otel"):
            raise ProxyError("invalid_request", "view is headgate or otel", param="view")
        body, content_type = await self._services.metrics(accept, "otel" if given == "otel" else "headgate")
        return Reply(body, content_type=content_type)

    async def spend(self, asked: AdminRequest) -> Reply:
        given = parameters(asked.query, ("by", "since", "until"))
        since, until = self._instant(given, "since"), self._instant(given, "until")
        return json_reply(await self._services.reports.spend(given.get("by", "agent"), since, until_ms=until))

    async def agents(self, asked: AdminRequest) -> Reply:
        since = self._instant(parameters(asked.query, ("since",)), "since")
        return json_reply({"rows": await self._services.reports.agents(since)})

    async def usage(self, asked: AdminRequest) -> Reply:
        given = parameters(asked.query, ("by", "since"))
        since = self._instant(given, "since")
        return json_reply(await self._services.reports.usage(given.get("by", "agent"), since))

    async def requests(self, asked: AdminRequest) -> Reply:
        given = parameters(asked.query, None)
        since, rows, before = self._instant(given, "since"), limit(given), number(given, "before")
        status(given)
        one_of(given, "served_by", get_args(ServedBy))
        filters = {name: value for name, value in given.items() if name not in WINDOW}
        return json_reply(await self._services.reports.requests(filters, rows, since_ms=since, before=before))

    async def request(self, asked: AdminRequest) -> Reply:
        services, id, given = self._services, asked.params["id"], parameters(asked.query, ("content",))
        words = given.get("content", "").lower() in YES
        return _found(await (services.content.request(asked, id) if words else services.reports.request(id)), "request")

    async def keys(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply({"rows": [_shown(stored) for stored in self._services.keys.list()]})

    async def create_key(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        order = asked.order(KeyRequest, "a key")
        record, text = self._services.keys.create(
            order.agent, team=order.team, models=order.models, lasts_s=order.lasts_s, budget=order.limits()
        )
        asked.key_id = record.id
        return json_reply({"key": text, "record": record}, status=201)

    async def revoke_key(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        id = asked.key_id = asked.params["id"]
        if not self._services.keys.revoke(id):
            raise ProxyError("unknown_path", "no key has this id")
        return json_reply({"revoked": id})

    async def config(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(self._services.config())

    async def targets(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(await self._services.targets())

    async def gates(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        return json_reply(self._services.gates())

    async def reload(self, asked: AdminRequest) -> Reply:
        parameters(asked.query)
        refused = await self._services.reload()
        if refused is not None:
            raise ProxyError("invalid_request", f"the present configuration stays in force: {refused}", status=422)
        return json_reply({"reloaded": True})

    def _instant(self, given: Mapping[str, str], name: str) -> int | None:
        return instant_ms(given, name, int(self._services.wall() * 1000))


def _found(answer: Struct | None, what: str) -> Reply:
    if answer is None:
        raise ProxyError("unknown_path", f"the ledger knows no {what} of this id")
    return json_reply(answer)


def _shown(stored: StoredKey) -> dict[str, object]:
    return {
        "record": stored.record,
        "created_wall": stored.created_wall,
        "revoked_wall": stored.revoked_wall,
        "budget": stored.budget,
    }
