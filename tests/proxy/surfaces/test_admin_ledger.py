"""The ledger's tools over HTTP: parameters that are checked, bodies that describe a correction, pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from proxy.money.quoting import QuoteRequest
from proxy.state.ledger import Ledger
from proxy.surfaces.admin_ledger import LedgerServices
from tests.proxy.admin import asking
from tests.proxy.desk import Desk
from tests.proxy.state.samples import attempt, call, outcome


class Said(Struct):
    """A quote, as far as this surface is concerned."""

    body: str
    agent: str | None


async def said(asked: QuoteRequest) -> Said:
    return Said(bytes(asked.body).decode(), asked.agent)


class Listener(Desk):
    def __init__(self, folder: Path) -> None:
        super().__init__(Ledger.open(folder / "ledger.db"))
        old = self.ledger_services
        self.ledger_services = LedgerServices(old.tools, said, lambda: 1_700_003_600.0)
        for number in range(3):
            self.ledger.append(outcome(call(str(number), at_s=number), attempt("q/m" if number == 2 else "p/m")))

    async def ask(self, method: str, path: str, body: object = None, kind: str = "application/json") -> tuple[int, Any]:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        async with asking(self.guard()) as client:
            reply = await client.request(method, path, data=data, headers={"Content-Type": kind} if data else {})
            return reply.status, await reply.json()


@pytest.fixture
def listener(tmp_path: Path) -> Listener:
    return Listener(tmp_path)


async def test_the_chain_is_verified_from_any_row_on(listener: Listener) -> None:
    status, first = await listener.ask("GET", "/ledger/verify")
    assert (status, first["checked"], first["seq"], first["more"], first["broken"]) == (200, 3, 3, False, None)
    _, rest = await listener.ask("GET", f"/ledger/verify?after=1&expect={first['hash']}")
    assert (rest["checked"], rest["expected_seq"], rest["hash"]) == (2, 3, first["hash"])
    _, wrong = await listener.ask("GET", f"/ledger/verify?after=1&hash={'0' * 64}")
    assert wrong["broken"]["seq"] == 1


async def test_attempts_come_by_time_and_provider(listener: Listener) -> None:
    status, page = await listener.ask("GET", "/ledger/attempts?since=2023-11-14T22:13:21Z&until=1s&provider=p")
    assert status == 200
    assert [row["request_id"] for row in page["rows"]] == ["1"]
    assert (page["since_ms"], page["until_ms"], page["after"]) == (1_700_000_001_000, 1_700_003_599_000, None)


async def test_a_correction_is_booked_and_audited(listener: Listener) -> None:
    order = {"bill": "b.csv", "corrections": [{"id": "l1", "request_id": "1", "attempt": 1, "usd_nanos": 1_700}]}
    status, done = await listener.ask("POST", "/ledger/adjust", order)
    assert status == 200
    assert done == {
        "rows": [{"id": "l1", "result": "booked", "difference_usd_nanos": 700, "windows": 0}],
        "difference_usd_nanos": 700,
    }
    _, again = await listener.ask("POST", "/ledger/adjust", order)
    assert again["rows"][0]["result"] == "repeated"
    assert [(line.path, line.status) for line in listener.audit] == [("/ledger/adjust", 200)] * 2
    _, page = await listener.ask("GET", "/ledger/attempts?after=1")
    assert [row["adjusted_usd_nanos"] for row in page["rows"]] == [700, 0]


async def test_calls_that_a_crash_has_swallowed_are_listed(listener: Listener) -> None:
    assert await listener.ask("GET", "/ledger/unresolved?since=1d") == (200, {"rows": [], "truncated": False})


async def test_a_quote_gets_the_request_as_it_would_be_sent(listener: Listener) -> None:
    order = b'{"body": {"model":  "m"}, "agent": "a"}'
    assert await listener.ask("POST", "/quote", order) == (200, {"body": '{"model":  "m"}', "agent": "a"})


LINE = {"id": "l", "request_id": "1", "attempt": 1, "usd_nanos": 1}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/ledger/verify?after=x", None),
        ("GET", "/ledger/verify?expect=abc", None),
        ("GET", "/ledger/verify?limit=5", None),
        ("GET", "/ledger/attempts?since=yesterday", None),
        ("GET", "/ledger/attempts?agent=a", None),
        ("POST", "/ledger/adjust", {"bill": "b", "corrections": []}),
        ("POST", "/ledger/adjust", {"bill": "b", "corrections": [LINE] * 501}),
        ("POST", "/ledger/adjust", {"bill": "b", "corrections": [LINE | {"usd_nanos": -1}]}),
        ("POST", "/ledger/adjust", {"bill": "b", "corrections": [LINE | {"usd_nanos": 1.5}]}),
        ("POST", "/ledger/adjust", {"bill": "b", "corrections": [LINE | {"attempt": 0}]}),
        ("POST", "/ledger/adjust", {"bill": "b", "corrections": [LINE | {"agent": "a"}]}),
        ("POST", "/ledger/adjust", {"bill": "", "corrections": [LINE]}),
        ("POST", "/quote", {"model": "m"}),
        ("POST", "/quote", {"body": {}, "endpoint": "images"}),
        ("POST", "/quote", b"{"),
    ],
)
async def test_what_is_not_meant_is_a_400(method: str, path: str, body: object, listener: Listener) -> None:
    status, answer = await listener.ask(method, path, body)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["/ledger/adjust", "/quote"])
async def test_a_body_that_pages_may_send_across_origins_is_refused(path: str, listener: Listener) -> None:
    assert (await listener.ask("POST", path, {}, kind="text/plain"))[0] == 415
