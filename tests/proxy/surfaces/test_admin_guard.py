from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from proxy.errors import ProxyError
from proxy.secret import Secret
from proxy.surfaces.admin_guard import BODY_BYTES_MAX, Audit, Guard, Rules
from proxy.surfaces.admin_route import AdminRequest, Reply, Route
from tests.proxy.admin import asking, listening

TOKEN = "a-token-of-the-operator"


class StoreError(Exception):
    pass


async def works(asked: AdminRequest) -> Reply:
    return Reply(b"works")


async def store_fails(asked: AdminRequest) -> Reply:
    raise StoreError("no space")


async def refuses(asked: AdminRequest) -> Reply:
    raise ProxyError("ledger_unavailable", "later")


async def breaks(asked: AdminRequest) -> Reply:
    raise ZeroDivisionError("a secret of the operator")


async def takes_long(asked: AdminRequest) -> Reply:
    await asyncio.sleep(3600)
    return Reply(b"at last")


ROWS = [
    Route("GET", "/x", works),
    Route("POST", "/x", works),
    Route("GET", "/", works),
    Route("GET", "/health/live", works),
    Route("GET", "/store", store_fails),
    Route("GET", "/refuses", refuses),
    Route("GET", "/breaks", breaks),
    Route("POST", "/long", takes_long),
]


class Door:
    """Guarded routes on loopback, and what they wrote to the audit log."""

    def __init__(self, token: str | None = TOKEN, hosts: tuple[str, ...] = ()) -> None:
        self.audit: list[Audit] = []
        secret = Secret(token) if token else None
        rules = Rules(self.audit.append, secret, hosts=frozenset(hosts), key_errors=(StoreError,))
        self.guard = Guard(rules, ROWS)

    async def ask(
        self, method: str = "GET", path: str = "/x", *, body: bytes | None = None, **headers: str
    ) -> tuple[int, str, Mapping[str, str]]:
        async with asking(self.guard) as client:
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
    assert "another token" in body
    assert "wants its token" in (await Door().ask(Authorization=f"Basic {TOKEN}"))[1]


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
        ("POST", "/x", b"y" * (BODY_BYTES_MAX + 1), 413, '"code":"request_too_large"'),
        ("GET", "/refuses", None, 503, '{"error":{"message":"later","code":"ledger_unavailable"}}'),
        ("GET", "/store", None, 503, "no space"),
        ("GET", "/breaks", None, 500, '"code":"internal"'),
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


def request(method: str, path: str, headers: str = "", *, token: str = TOKEN) -> bytes:
    told = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{headers}\r\n"
    return told.encode("latin-1")


async def test_who_does_not_wait_for_an_answer_leaves_an_audit_line_too() -> None:
    door = Door()
    async with talking(door.guard) as (_, writer):
        writer.write(request("POST", "/long"))
        await asyncio.sleep(1.0)
        assert door.audit == []
        writer.close()
        await asyncio.sleep(1.0)
        assert door.audit == [Audit("POST", "/long", "127.0.0.1", 499)]


async def test_head_is_answered_as_get_without_the_body_and_changes_nothing() -> None:
    door = Door()
    async with talking(door.guard) as (reader, writer):
        for method, body in (("HEAD", b""), ("GET", b"works")):
            writer.write(request(method, "/x"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Content-Length: 5\r\n" in head
            assert await reader.readexactly(len(body)) == body
    assert door.audit == []


@pytest.mark.parametrize(
    ("token", "path", "status"), [("wrong", "/x", b"401"), ("wrong", "/nowhere", b"401"), (TOKEN, "/nowhere", b"404")]
)
async def test_nobody_waits_for_the_body_of_what_is_refused(token: str, path: str, status: bytes) -> None:
    async with talking(Door().guard) as (reader, writer):
        writer.write(request("POST", path, "Content-Length: 9\r\n", token=token))
        assert (await reader.readline()).split()[1] == status
        assert b"\r\nConnection: close\r\n" in await reader.readuntil(b"\r\n\r\n")


async def test_a_body_without_an_announced_end_is_cut_at_its_bound() -> None:
    door = Door()
    async with talking(door.guard) as (reader, writer):
        writer.write(request("POST", "/x", "Transfer-Encoding: chunked\r\n"))
        writer.write(b"%x\r\n" % (2 * BODY_BYTES_MAX) + b"y" * (BODY_BYTES_MAX + 1))
        assert (await reader.readline()).split()[1] == b"413"
    assert [line.status for line in door.audit] == [413]


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever() -> None:
    async with talking(Door().guard) as (reader, writer):
        began_at = asyncio.get_running_loop().time()
        writer.write(request("POST", "/x", "Content-Length: 100000\r\n"))
        assert (await reader.readline()).split()[1] == b"408"
        assert 5 <= asyncio.get_running_loop().time() - began_at <= 60


@pytest.mark.parametrize("path", ["/x\xff", "/x?agent=\xff", "/x y"])
async def test_what_no_path_may_hold_is_refused_before_the_door(path: str) -> None:
    door = Door()
    async with talking(door.guard) as (reader, writer):
        writer.write(request("POST", path))
        assert (await reader.readline()).split()[1] == b"400"
    assert door.audit == []


async def test_a_defect_is_not_told_to_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    _, text, _ = await Door().ask("GET", "/breaks")
    assert "secret" not in text
    assert "the admin listener met a defect" in caplog.text


@asynccontextmanager
async def talking(guard: Guard) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with listening(guard) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        try:
            yield reader, writer
        finally:
            writer.close()
