from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from msgspec import Struct

from proxy.secret import Secret
from proxy.state.budget_report import BudgetList
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import LedgerReports
from proxy.surfaces.admin import AdminServices, admin_routes, admin_surface
from proxy.surfaces.admin_guard import BODY_BYTES_MAX, Audit
from proxy.surfaces.feed import Feed
from proxy.types import KeyRecord
from tests.known import BatchDesk, CacheDesk, CascadeDesk, ExperimentDesk
from tests.proxy.admin import asking
from tests.proxy.desk import Desk
from tests.proxy.state.samples import attempt, call, outcome
from tests.words import no_words

WALL = 1_700_000_000.0  # when the sample calls arrive
SCRIPT = "<script>alert(1)</script>"


class Stored(Struct):
    record: KeyRecord
    digest: str = "never-shown"
    created_wall: float = WALL
    revoked_wall: float | None = None
    budget: tuple[str, ...] = ()


class Keys:
    def __init__(self) -> None:
        self.stored = [Stored(KeyRecord("old", agent="planner"))]
        self.asked: list[object] = []

    def create(
        self,
        agent: str | None,
        *,
        team: str | None = None,
        models: tuple[str, ...] | None = None,
        lasts_s: float | None = None,
        budget: tuple[str, ...] = (),
    ) -> tuple[KeyRecord, str]:
        self.asked.append((agent, team, models, lasts_s, *budget))
        return KeyRecord("new", agent, team, models), "hg-new-plaintext"

    def revoke(self, id: str) -> bool:
        return id == "old"

    def list(self) -> list[Stored]:
        return self.stored


class Gate:
    """The admin listener over a real ledger, everything else at hand for the test."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger.open(folder / "ledger.db")
        self.desk = Desk(self.ledger)
        self.keys = Keys()
        self.audit: list[Audit] = []
        self.accepts: list[str] = []
        self.views: list[str] = []
        self.load_tests: list[tuple[str, str, int]] = []
        self.why_not_reloaded: str | None = None
        self.token: Secret | None = None

    async def metrics(self, accept: str, view: str) -> tuple[bytes, str]:
        self.accepts.append(accept)
        self.views.append(view)
        return b"headgate_up 1\n", "text/plain; version=0.0.4; charset=utf-8"

    async def targets(self) -> object:
        return [{"id": "up/model"}]

    async def reload(self) -> str | None:
        return self.why_not_reloaded

    def services(self) -> AdminServices:
        return AdminServices(
            reports=LedgerReports(self.ledger),
            runs=self.desk.services,
            budgets=lambda query: BudgetList((), truncated=False),
            ledger=self.desk.ledger_services,
            batches=BatchDesk(),
            caches=CacheDesk(),
            cascades=CascadeDesk(),
            experiments=ExperimentDesk(),
            content=no_words(),
            keys=self.keys,
            metrics=self.metrics,
            loadtest=lambda *said: self.load_tests.append(said),
            config=lambda: {"server": {"port": 8080}},
            targets=self.targets,
            reload=self.reload,
            wall=lambda: WALL + 3600,
            audit=self.audit.append,
            about=lambda: KeyRecord(f"1.2.3{SCRIPT}"),
            feed=Feed("1", lambda: KeyRecord("nothing yet")),
            token=self.token,
        )

    def client(self) -> AbstractAsyncContextManager[ClientSession]:
        return asking(admin_surface(self.services()))

    async def get(self, path: str, status: int = 200) -> Any:
        async with self.client() as client:
            reply = await client.get(path)
            assert reply.status == status, await reply.text()
            return await reply.json()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


async def test_spend_is_read_from_the_ledger_and_includes_what_has_just_ended(gate: Gate) -> None:
    gate.ledger.append(outcome(call(agent="planner"), attempt(cost=123)))
    answer = await gate.get("/spend?by=agent&since=2h")
    assert [(row["key"], row["cost_usd_nanos"]) for row in answer["rows"]] == [("planner", 123)]
    assert (await gate.get("/spend?since=30m"))["total"]["calls"] == 0
    assert (await gate.get("/spend?until=2h"))["total"]["calls"] == 0


async def test_agents_runs_and_requests_are_lists_of_rows(gate: Gate) -> None:
    gate.ledger.append(outcome(call("r1", run="run 1/ü")))
    assert [row["agent"] for row in (await gate.get("/agents?since=1d"))["rows"]] == ["a"]
    assert [row["run"] for row in (await gate.get("/runs?limit=5&agent=a"))["rows"]] == ["run 1/ü"]
    assert [row["request_id"] for row in (await gate.get("/requests?agent=a&limit=5"))["rows"]] == ["r1"]


async def test_one_run_and_one_request_are_found_by_id_whatever_its_characters(gate: Gate) -> None:
    gate.ledger.append(outcome(call("r/1 ?", run="run 1/ü")))
    assert (await gate.get("/runs/run%201%2F%C3%BC"))["run"]["run"] == "run 1/ü"
    assert (await gate.get("/requests/r%2F1%20%3F"))["fields"]["request_id"] == "r/1 ?"


@pytest.mark.parametrize("path", ["/runs/unknown", "/requests/unknown", "/requests/%00%ff", "/nowhere"])
async def test_what_is_not_there_is_404(gate: Gate, path: str) -> None:
    assert (await gate.get(path, 404))["error"]["code"] == "unknown_path"


@pytest.mark.parametrize(
    "path", ["/spend", "/agents", "/runs", "/runs/x", "/requests", "/requests/x", "/keys", "/config", "/targets"]
)
async def test_an_unknown_parameter_is_refused_by_name_on_every_path(gate: Gate, path: str) -> None:
    error = (await gate.get(f"{path}?agnet=1", 400))["error"]
    assert error["code"] == "invalid_request" and "agnet" in error["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/spend?by=secrets",
        "/spend?since=soon",
        "/runs?limit=0",
        "/requests?before=x",
        "/spend?by=agent&by=run",
        "/requests?status=abc",
        "/requests?status=99",
        "/requests?status=600",
        "/requests?served_by=shadow",
    ],
)
async def test_a_value_without_meaning_is_refused(gate: Gate, path: str) -> None:
    assert (await gate.get(path, 400))["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("value", ["%00", "%ff%fe", "%ED%A0%80", "'%20OR%201=1", "x" * 5000])
async def test_odd_values_find_nothing_and_break_nothing(gate: Gate, value: str) -> None:
    gate.ledger.append(outcome(call(run="r")))
    assert (await gate.get(f"/requests?agent={value}"))["rows"] == []
    assert (await gate.get(f"/runs?agent={value}"))["rows"] == []


async def test_metrics_are_given_in_the_form_that_was_asked_for(gate: Gate) -> None:
    async with gate.client() as client:
        reply = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
        assert (await reply.read(), reply.headers["Content-Type"]) == (
            b"headgate_up 1\n",
            "text/plain; version=0.0.4; charset=utf-8",
        )
    assert gate.accepts == ["application/openmetrics-text"]


async def test_metrics_have_a_second_view_and_no_third(gate: Gate) -> None:
    async with gate.client() as client:
        assert (await client.get("/metrics?view=otel")).status == 200
        assert (await client.get("/metrics?view=litellm")).status == 400
    assert gate.views == ["otel"]


async def test_a_key_is_made_shown_once_and_never_listed(gate: Gate) -> None:
    async with gate.client() as client:
        budget = [{"usd": 0.1, "per": "day"}, {"concurrency": 8}]
        reply = await client.post("/keys", json={"agent": "a", "models": ["m"], "lasts_s": 60, "budget": budget})
        assert (reply.status, (await reply.json())["key"]) == (201, "hg-new-plaintext")
        listed = await (await client.get("/keys")).text()
    assert gate.keys.asked == [("a", None, ("m",), 60.0, "0.10/day", "8concurrency")]
    assert "old" in listed and "plaintext" not in listed and "never-shown" not in listed
    assert gate.audit == [Audit("POST", "/keys", "127.0.0.1", 201, "new")]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ('{"agent": "a", "admin": true}', "application/json", 400),
        ('{"agent": 7}', "application/json", 400),
        ('{"agent": ""}', "application/json", 400),
        ('{"team": "a/b"}', "application/json", 400),
        ('{"lasts_s": -1}', "application/json", 400),
        ('{"budget": [{"usd": 5, "per": "fortnight"}]}', "application/json", 400),
        ('{"budget": [{"usd": 5, "tokens": 5}]}', "application/json", 400),
        ('{"budget": {"usd": 5}}', "application/json", 400),
        ("{", "application/json", 400),
        ("", "application/json", 400),
        ('{"agent": "a"}', "text/plain", 415),
        ('{"agent": "a"}', "application/x-www-form-urlencoded", 415),
        ('{"agent": "' + "a" * BODY_BYTES_MAX + '"}', "application/json", 413),
    ],
)
async def test_what_does_not_describe_a_key_makes_none(gate: Gate, body: str, kind: str, status: int) -> None:
    async with gate.client() as client:
        reply = await client.post("/keys", data=body, headers={"Content-Type": kind})
        assert reply.status == status and "message" in (await reply.json())["error"]
    assert gate.keys.asked == []
    assert [line.status for line in gate.audit] == [status]


async def test_a_key_is_revoked_by_id(gate: Gate) -> None:
    async with gate.client() as client:
        assert (await client.delete("/keys/old")).status == 200
        assert (await client.delete("/keys/other")).status == 404
    assert [(line.key_id, line.status) for line in gate.audit] == [("old", 200), ("other", 404)]


async def test_reload_tells_why_the_old_configuration_stays(gate: Gate) -> None:
    async with gate.client() as client:
        assert (await client.post("/reload")).status == 200
        gate.why_not_reloaded = "headgate.yaml, line 3: unknown key"
        reply = await client.post("/reload")
        assert (reply.status, "line 3" in (await reply.json())["error"]["message"]) == (422, True)


async def test_configuration_and_targets_are_what_the_gate_says(gate: Gate) -> None:
    assert await gate.get("/config") == {"server": {"port": 8080}}
    assert await gate.get("/targets") == [{"id": "up/model"}]


async def test_the_page_holds_no_name_of_anyone_and_names_leave_as_json(gate: Gate) -> None:
    gate.ledger.append(outcome(call(agent=SCRIPT, run=SCRIPT)))
    async with gate.client() as client:
        reply = await client.get("/")
        text = await reply.text()
        assert reply.content_type == "text/html"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert SCRIPT not in text and "1.2.3" not in text
        assert (await client.get("/about")).content_type == "application/json"
        rows = await client.get("/agents")
        assert rows.content_type == "application/json"


ROUTES = [
    ("GET", "/metrics"),
    ("GET", "/about"),
    ("GET", "/usage"),
    ("GET", "/spend"),
    ("GET", "/agents"),
    ("GET", "/budgets"),
    ("GET", "/batches"),
    ("GET", "/batches/x"),
    ("POST", "/batches/x/cancel"),
    ("GET", "/caches"),
    ("GET", "/cascades"),
    ("POST", "/cascades/reset"),
    ("POST", "/feedback"),
    ("GET", "/experiments"),
    ("GET", "/experiments/{name}"),
    ("POST", "/experiments/{name}/reset"),
    ("POST", "/caches/purge"),
    ("GET", "/content"),
    ("POST", "/content/purge"),
    ("POST", "/loadtest"),
    ("GET", "/ledger/verify"),
    ("GET", "/ledger/attempts"),
    ("GET", "/ledger/unresolved"),
    ("POST", "/ledger/adjust"),
    ("POST", "/quote"),
    ("GET", "/runs"),
    ("GET", "/runs/x"),
    ("POST", "/runs/x/kill"),
    ("POST", "/runs/x/pause"),
    ("POST", "/runs/x/resume"),
    ("POST", "/runs/x/topup"),
    ("POST", "/accounts/{name}/topup"),
    ("GET", "/requests"),
    ("GET", "/requests/x"),
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("DELETE", "/keys/old"),
    ("GET", "/config"),
    ("GET", "/targets"),
    ("GET", "/gates"),
    ("POST", "/reload"),
]


async def test_every_route_but_the_page_and_liveness_needs_the_token(gate: Gate) -> None:
    gate.token = Secret("operator-token")
    async with gate.client() as client:
        routes = {(route.method, route.path) for route in admin_routes(gate.services())}
        tested = {(method, path.replace("/x", "/{id}").replace("/old", "/{id}")) for method, path in ROUTES}
        free = {("GET", "/"), ("GET", "/health/live"), ("GET", "/console/{file}")}
        assert routes == tested | free | {("GET", "/events")}  # which has no end
        assert (await client.get("/events")).status == 401
        for method, path in ROUTES:
            assert (await client.request(method, path)).status == 401, path
            given = await client.request(method, path, headers={"Authorization": "Bearer operator-token"})
            assert given.status != 401, path
        assert (await client.get("/health/live")).status == 200
    assert "operator-token" not in repr(gate.audit)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_reports_cannot_be_written(gate: Gate, method: str) -> None:
    async with gate.client() as client:
        for path in ("/spend", "/runs/x", "/requests/x", "/config"):
            assert (await client.request(method, path)).status == 405
