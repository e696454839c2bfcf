from __future__ import annotations

from collections.abc import Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.errors import ProxyError
from proxy.secret import Secret
from proxy.surfaces.admin_guard import Audit, Guard, Rules

TOKEN = "a-token-of-the-operator"


class StoreError(Exception):
    pass


async def works(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text="works")


async def store_fails(request: web.Request) -> web.Response:
    raise StoreError("no space")


async def refuses(request: web.Request) -> web.Response:
    raise ProxyError("ledger_unavailable", "later")


class Door:
    """A guarded application on loopback, and what it wrote to the audit log."""

    def __init__(self, token: str | None = TOKEN, hosts: tuple[str, ...] = ()) -> None:
        self.audit: list[Audit] = []
        secret = Secret(token) if token else None
        rules = Rules(self.audit.append, secret, hosts=frozenset(hosts), key_errors=(StoreError,))
        app = web.Application(middlewares=[Guard(rules).serve], client_max_size=1024)
        app.add_routes(
            [web.get("/x", works), web.post("/x", works), web.get("/", works), web.get("/health/live", works)]
        )
        app.add_routes([web.get("/store", store_fails), web.get("/refuses", refuses)])
        self._server = TestServer(app)

    async def ask(
        self, method: str = "GET", path: str = "/x", *, body: bytes | None = None, **headers: str
    ) -> tuple[int, str, Mapping[str, str]]:
        async with TestClient(self._server) as client:
            sent = {"Authorization": f"Bearer {TOKEN}"} | {
                name.replace("_", "-"): value for name, value in headers.items()
            }
            reply = await client.request(method, path, headers=sent, data=body)
            return reply.status, await reply.text(), reply.headers


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer ", 401),
        ("", 401),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        ("Bearer caf\u00e9", 401),
    ],
)
async def test_only_the_token_opens_the_door(given: str, status: int) -> None:
    assert (await Door().ask(Authorization=given))[0] == status


async def test_a_refused_token_is_not_repeated_and_the_scheme_is_told() -> None:
    _, body, headers = await Door().ask(Authorization="Bearer wrong-secret")
    assert "wrong-secret" not in body and TOKEN not in body
    assert headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", "/health/live"])
async def test_liveness_and_the_front_page_need_no_token(path: str) -> None:
    assert (await Door().ask(path=path, Authorization=""))[0] == 200


async def test_without_a_token_configured_loopback_may_ask() -> None:
    assert (await Door(token=None).ask(Authorization=""))[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8081", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:8081", 200),
        ("gate.internal:8081", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8081", 403),
        ("127.0.0.1.nip.io", 403),
        ("evil.example:localhost", 403),
        ("", 403),
    ],
)
async def test_only_listed_host_names_are_served(host: str, status: int) -> None:
    for path in ("/x", "/", "/health/live"):
        assert (await Door(hosts=("gate.internal",)).ask(path=path, Host=host))[0] == status


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "127.0.0.1"])
async def test_a_page_of_another_origin_cannot_ask_even_on_loopback(origin: str) -> None:
    door = Door(token=None)
    assert (await door.ask("POST", Origin=origin))[0] == 403
    assert [line.status for line in door.audit] == [403]


async def test_the_listeners_own_page_may_ask() -> None:
    assert (await Door().ask("POST", Origin="http://localhost:8081", Host="localhost:8081"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/nowhere", None, 404, '"code":"unknown_path"'),
        ("DELETE", "/x", None, 405, '"code":"method_not_allowed"'),
        ("POST", "/x", b"y" * 2000, 413, '"code":"request_too_large"'),
        ("GET", "/refuses", None, 503, '{"error":{"message":"later","code":"ledger_unavailable"}}'),
        ("GET", "/store", None, 503, "no space"),
    ],
)
async def test_errors_of_every_kind_are_json_with_message_and_code(
    method: str, path: str, body: bytes | None, status: int, words: str
) -> None:
    given, text, headers = await Door().ask(method, path, body=body)
    assert (given, headers["Content-Type"]) == (status, "application/json")
    assert words in text and '"message"' in text


async def test_a_wrong_method_is_told_the_right_ones() -> None:
    assert (await Door().ask("DELETE"))[2]["Allow"] == "GET,HEAD,POST"


async def test_every_change_leaves_an_audit_line_and_reading_leaves_none() -> None:
    door = Door()
    await door.ask("GET")
    assert door.audit == []
    door = Door()
    await door.ask("POST")
    assert door.audit == [Audit("POST", "/x", "127.0.0.1", 200)]
    door = Door()
    await door.ask("POST", Authorization="")
    assert door.audit == [Audit("POST", "/x", "127.0.0.1", 401)]


async def test_no_reply_may_be_stored_sniffed_or_read_across_origins() -> None:
    for path in ("/x", "/nowhere"):
        _, _, headers = await Door().ask(path=path)
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert not any(name.startswith("Access-Control") or name == "Set-Cookie" for name in headers)
