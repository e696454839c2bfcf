"""Bad input of every kind gets a clear answer in OpenAI's form: never a 500, nothing held, one outcome recorded."""

from __future__ import annotations

import asyncio

import pytest

from proxy.snapshot import AgentRules, Limits
from proxy.surfaces.connection import Edges
from proxy.types import KeyRecord
from tests.flow.world import KEY, World, head, plain, read_response

GOOD = b'{"model":"m","messages":[]}'


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"", 400, None, None),
        (b"[]", 400, None, None),
        (b"null", 400, None, None),
        (b"7", 400, None, None),
        (b'"text"', 400, None, None),
        (b"{", 400, None, None),
        (b'{"model":"m","messages":[]} trailing', 400, None, None),
        (b'{"model":"\xff","messages":[]}', 400, None, None),
        (b"\xef\xbb\xbf" + GOOD, 400, None, None),
        (b'{"model":"m","model":"n","messages":[]}', 400, None, "model"),
        (b'{"messages":[]}', 400, None, "model"),
        (b'{"model":null,"messages":[]}', 400, None, "model"),
        (b'{"model":7,"messages":[]}', 400, None, "model"),
        (b'{"model":"","messages":[]}', 400, None, "model"),
        (b'{"model":"m"}', 400, None, "messages"),
        (b'{"model":"m","messages":"hello"}', 400, None, "messages"),
        (b'{"model":"m","messages":[],"stream":"yes"}', 400, None, "stream"),
        (b'{"model":"m","messages":[],"n":0}', 400, None, "n"),
        (b'{"model":"m","messages":[],"n":1.5}', 400, None, "n"),
        (b'{"model":"m","messages":[],"max_tokens":-1}', 400, None, "max_tokens"),
        (b'{"model":"m","messages":[],"max_tokens":"many"}', 400, None, "max_tokens"),
        (b'{"model":"m","messages":[],"max_tokens":10000000000000000}', 400, None, "max_tokens"),
        (b'{"model":"m","messages":[],"n":100000}', 400, None, "n"),
        (b'{"model":"w/a\\r\\nSet-Cookie: a=b","messages":[]}', 400, None, "model"),
        (b'{"model":"' + b"x" * 300 + b'","messages":[]}', 400, None, "model"),
        (b'{"model":"m","messages":[],' + b",".join(b'"%d":0' % n for n in range(2000)) + b"}", 400, None, None),
        (b'{"model":"m","messages":[],"x":"' + rb"\ud800" * 300_000 + b'"}', 400, None, None),
        (b'{"model":"m","messages":[],"stream":true,"stream_options":7}', 400, None, "stream_options"),
        (b'{"model":"unknown","messages":[]}', 404, "model_not_found", "model"),
        (b"[" * 100_000, 400, None, None),
        (b'{"model":"m","messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400, None, None),
    ],
)
async def test_a_bad_body_is_named(body: bytes, status: int, code: str | None, param: str | None) -> None:
    async with World(plain) as world:
        response = await world.request(body, headers="Content-Length: 0\r\n" if not body else "")
        assert response.status == status
        assert response.error["message"]
        assert response.error["param"] == param
        assert code is None or response.error["code"] == code
        assert response.headers["x-should-retry"] == "false"
        assert world.upstreams[0].requests == []
        assert len(world.outcomes) == 1


@pytest.mark.parametrize("key", [None, "", "wrong", "x" * 4000, "hg-t\u00e9st"])
async def test_a_wrong_key_is_a_401_with_the_code_that_clients_match_on(key: str | None) -> None:
    async with World(plain) as world:
        response = await world.request(key=key)
        assert (response.status, response.error["code"]) == (401, "invalid_api_key")
        assert world.upstreams[0].requests == []


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "x-goog-api-key"])
async def test_the_key_is_found_where_other_sdks_put_it(header: str) -> None:
    async with World(plain) as world:
        assert (await world.request(key=None, headers=f"{header}: {KEY}\r\n")).status == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/files", "/v1/chat", "/v1/chat/completions/", "/v1/../admin", "/agents/a", "/v1/assistants"],
)
async def test_an_unknown_path_is_refused_and_not_forwarded(path: str) -> None:
    async with World(plain) as world:
        response = await world.request(path=path)
        assert (response.status, response.error["code"]) == (404, "unknown_path")
        assert world.upstreams[0].requests == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("PUT", "/v1/chat/completions", 405),
        ("HEAD", "/v1/chat/completions", 405),
        ("OPTIONS", "/v1/chat/completions", 204),
        ("OPTIONS", "/v1/models", 204),
        ("GET", "/v1/models", 200),
        ("HEAD", "/v1/models", 200),
        ("GET", "/v1/models/m", 200),
        ("GET", "/v1/models/nothing", 404),
        ("POST", "/v1/models", 405),
        ("GET", "/health/live", 200),
        ("GET", "/health/ready", 200),
        ("GET", "/agents/me/v1/models", 200),
    ],
)
async def test_every_method_has_a_defined_answer(method: str, path: str, status: int) -> None:
    async with World(plain) as world:
        response = await world.request(b"", method=method, path=path)
        assert response.status == status
        assert response.headers["x-request-id"]
        assert status not in (204, 405) or "OPTIONS" in response.headers["allow"]


async def test_head_is_answered_without_a_body_wherever_it_is_asked() -> None:
    async with World(plain) as world:
        reader, writer = await world.connect()
        for path in ("/nothing", "/v1/models"):
            writer.write(head(b"", path=path, method="HEAD"))
            raw = await reader.readuntil(b"\r\n\r\n")
            assert raw.startswith(b"HTTP/1.1 ")
        writer.close()


async def test_an_agent_whose_key_has_an_odd_name_is_still_answered() -> None:
    async with World(plain) as world:
        world.keys.records["odd"] = KeyRecord("odd", agent="a\r\nb\u2028\u00e9")
        response = await world.request(key="odd")
        assert response.status == 200
        assert response.headers["x-headgate-agent"].startswith("ab")


async def test_models_are_those_that_this_key_may_use() -> None:
    async with World(plain) as world:
        world.keys.records["narrow"] = KeyRecord("narrow", models=("other",))
        assert b'"id":"m"' in (await world.request(b"", method="GET", path="/v1/models")).body
        assert (await world.request(b"", method="GET", path="/v1/models", key="narrow")).json["data"] == []
        assert (await world.request(key="narrow")).error["code"] == "not_allowed"


async def test_an_agent_may_be_limited_to_models() -> None:
    async with World(plain) as world:
        world.agents["planner"] = AgentRules(models=frozenset({"other"}))
        assert (await world.request(path="/agents/planner/v1/chat/completions")).status == 403
        assert (await world.request()).status == 200


async def test_a_compressed_body_is_not_unpacked() -> None:
    async with World(plain) as world:
        response = await world.request(GOOD, headers="Content-Encoding: gzip\r\n")
        assert (response.status, response.error["code"]) == (415, "unsupported_encoding")


async def test_a_body_of_another_type_is_refused_in_words() -> None:
    async with World(plain) as world:
        response = await world.request(GOOD, headers="Content-Type: application/xml\r\n")
        assert (response.status, response.error["code"]) == (415, "unsupported_media_type")


async def test_a_large_body_is_refused_by_its_length_and_by_its_bytes() -> None:
    async with World(plain, limits=Limits(body_bytes_max=10_000)) as world:
        response = await world.request(b"x" * 10_001)
        assert (response.status, response.error["code"]) == (413, "request_too_large")
        chunked = b"".join(b"3e8\r\n" + b"x" * 1000 + b"\r\n" for _ in range(20)) + b"0\r\n\r\n"
        response = await world.request(chunked, headers="Transfer-Encoding: chunked\r\n")
        assert response.status == 413


async def test_a_chunked_body_is_served() -> None:
    async with World(plain) as world:
        chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n\r\n"
        assert (await world.request(chunked, headers="Transfer-Encoding: chunked\r\n")).status == 200
        assert world.upstreams[0].requests[0][1] == b'{"model":"real","messages":[]}'


async def test_a_vision_body_of_twenty_megabytes_is_served() -> None:
    body = b'{"model":"m","messages":[],"image":"data:image/png;base64,' + b"A" * 20_000_000 + b'"}'
    async with World(plain) as world:
        assert (await world.request(body)).status == 200
        assert world.outcomes[0].call.input_tokens_estimate < 10_000


async def test_a_client_that_waits_for_100_continue_gets_it_after_its_key_was_checked() -> None:
    async with World(plain) as world:
        reader, writer = await world.connect()
        writer.write(head(GOOD, path="/v1/chat/completions", headers="Expect: 100-continue\r\n"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(GOOD)
        assert (await read_response(reader)).status == 200
        reader, writer = await world.connect()
        writer.write(head(GOOD, path="/v1/chat/completions", headers="Expect: 100-continue\r\n", key="wrong"))
        assert (await read_response(reader)).status == 401


async def test_another_expectation_cannot_be_met() -> None:
    async with World(plain) as world:
        assert (await world.request(GOOD, headers="Expect: miracles\r\n")).status == 417


@pytest.mark.parametrize(
    "wire",
    [
        b"POST /v1/responses HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: -5\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: g\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: g\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n",
    ],
)
async def test_conflicting_framing_and_bad_heads_are_refused_and_the_connection_closed(wire: bytes) -> None:
    async with World(plain) as world:
        reader, writer = await world.connect()
        writer.write(wire)
        response = await read_response(reader)
        assert 400 <= response.status < 500
        assert response.error["message"]
        assert await reader.read() == b""
        assert world.upstreams[0].requests == []


async def test_a_head_that_dribbles_is_cut_off() -> None:
    async with World(plain, edges=Edges(head_timeout_s=10)) as world:
        reader, writer = await world.connect()
        began = asyncio.get_running_loop().time()
        for byte in b"POST /v1/chat/completions HTTP/1.1\r\n":
            try:
                writer.write(bytes([byte]))
                await asyncio.sleep(1)
            except ConnectionError:
                break
            if reader.at_eof():
                break
        assert await reader.read() == b""
        assert 9 <= asyncio.get_running_loop().time() - began <= 13


async def test_a_connection_that_never_speaks_is_closed() -> None:
    async with World(plain, edges=Edges(head_timeout_s=10)) as world:
        reader, _ = await world.connect()
        began = asyncio.get_running_loop().time()
        assert await reader.read() == b""
        assert 9 <= asyncio.get_running_loop().time() - began <= 11


async def test_an_idle_connection_is_kept_between_requests_and_then_closed() -> None:
    async with World(plain, edges=Edges(keepalive_s=75)) as world:
        reader, writer = await world.connect()
        for _ in range(2):
            writer.write(head(GOOD, path="/v1/chat/completions") + GOOD)
            assert (await read_response(reader)).status == 200
            await asyncio.sleep(60)
        began = asyncio.get_running_loop().time()
        assert await reader.read() == b""
        assert asyncio.get_running_loop().time() - began <= 20


async def test_a_body_that_dribbles_is_cut_off_with_a_408() -> None:
    async with World(plain) as world:
        reader, writer = await world.connect()
        writer.write(head(b"", path="/v1/chat/completions", headers="Content-Length: 1000\r\n"))
        response = await read_response(reader)
        assert (response.status, response.error["code"]) == (408, "request_timeout")


async def test_too_many_connections_are_refused() -> None:
    async with World(plain, edges=Edges(connections_max=2)) as world:
        kept = [await world.connect() for _ in range(2)]
        reader, _ = await world.connect()
        assert await asyncio.wait_for(reader.read(), 1) == b""
        assert len(kept) == 2


async def test_no_ledger_no_call() -> None:
    async with World(plain) as world:
        world.accepting = False
        response = await world.request()
        assert (response.status, response.error["code"]) == (503, "ledger_unavailable")
        assert world.upstreams[0].requests == []


async def test_an_unpriced_model_is_refused_or_flagged_and_never_free() -> None:
    async with World(plain, price=None) as world:
        assert (await world.request()).error["code"] == "unpriced_model"
    async with World(plain, price=None, unpriced_allowed=True) as world:
        response = await world.request()
        assert response.status == 200
        assert "x-headgate-cost-usd" not in response.headers
        assert world.outcomes[0].cost_usd_nanos is None


async def test_junk_leaves_nothing_behind() -> None:
    async with World(plain) as world:
        reader, writer = await world.connect()
        for _ in range(300):
            writer.write(head(b"junk", path="/v1/chat/completions", key="wrong") + b"junk")
            assert (await read_response(reader)).status == 401
        assert len(world.tasks) == 0


async def test_nesting_beside_a_lone_surrogate_is_no_defect() -> None:
    async with World(plain) as world:
        response = await world.request(b'{"model":"m","messages":["\\ud800",' + b"[" * 5_000 + b"]" * 5_000 + b"]}")
        assert (response.status, response.error["code"]) == (400, "invalid_json")
