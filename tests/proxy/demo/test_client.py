from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from proxy.clock import SystemClock, loop_time
from proxy.demo.client import Client, Failed, _code
from proxy.listeners import bind, url
from proxy.providers.transport import HttpTransport

TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"
END = b": the end\n\n"


class Server:
    """Answers with `replies`, the last one for ever: a status with headers, or the pieces of a stream."""

    def __init__(self, *replies: tuple[int, dict[str, str]] | list[bytes]) -> None:
        self.replies = list(replies)
        self.told: dict[str, str] = {}  # headers of its streams
        self.requests: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append({name.lower(): value for name, value in request.headers.items()})
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, tuple):
            status, headers = reply
            return web.Response(status=status, headers=headers, body=b"{}")
        response = web.StreamResponse(headers=self.told)
        await response.prepare(request)
        for piece in reply:
            await asyncio.sleep(1.0)
            await response.write(piece)
        if reply[-1] not in (DONE, END) and request.transport is not None:
            request.transport.abort()
        return response


@asynccontextmanager
async def asking(server: Server) -> AsyncIterator[Client]:
    sock = bind("127.0.0.1", 0, "test", "")
    application = web.Application()
    application.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    transport = HttpTransport()
    try:
        yield Client(transport, f"{url(sock)}/v1", key="key", clock=SystemClock(1, now=loop_time))
    finally:
        await transport.close()
        await runner.cleanup()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_the_first_token_is_the_first_text_and_the_answer_is_all_of_it() -> None:
    server = Server([ROLE, TOKEN % b"hel", TOKEN % b"lo", USAGE, DONE])
    async with asking(server) as client:
        reply = await client.ask(b"{}", {"X-Headgate-Run": "r"})
    assert reply.text == "hello"
    assert reply.first_token_s == pytest.approx(2.0)
    (request,) = server.requests
    assert (request["authorization"], request["x-headgate-run"]) == ("Bearer key", "r")
    assert request["x-stainless-retry-count"] == "0"


async def test_a_reply_knows_what_a_gate_says_of_it_and_a_provider_says_nothing() -> None:
    server = Server([TOKEN % b"a", DONE])
    async with asking(server) as client:
        alone = await client.ask(b"{}", {})
        server.told = {"X-Headgate-Target": "north/sim-small", "X-Headgate-Served-By": "hedge"}
        guarded = await client.ask(b"{}", {})
    assert (alone.target, alone.served_by) == ("", "")
    assert (guarded.target, guarded.served_by) == ("north/sim-small", "hedge")


async def test_two_retries_with_growing_pauses_then_it_fails() -> None:
    server = Server((503, {}))
    async with asking(server) as client:
        began_at = now()
        with pytest.raises(Failed):
            await client.ask(b"{}", {})
        assert 0.375 + 0.75 <= now() - began_at <= 0.5 + 1.0
    assert [request["x-stainless-retry-count"] for request in server.requests] == ["0", "1", "2"]


async def test_the_hint_of_the_server_decides_the_pause_and_the_wait_counts() -> None:
    server = Server((429, {"retry-after": "3"}), [TOKEN % b"a", DONE])
    async with asking(server) as client:
        assert (await client.ask(b"{}", {})).first_token_s == pytest.approx(4.0)


@pytest.mark.parametrize("reply", [(400, {}), (503, {"x-should-retry": "false"})])
async def test_what_cannot_get_better_is_not_tried_again(reply: tuple[int, dict[str, str]]) -> None:
    server = Server(reply)
    async with asking(server) as client:
        with pytest.raises(Failed):
            await client.ask(b"{}", {})
    assert len(server.requests) == 1


@pytest.mark.parametrize("last", [TOKEN % b"b", END])
async def test_a_stream_without_its_last_event_is_a_failed_call_and_not_tried_again(last: bytes) -> None:
    server = Server([TOKEN % b"a", last])
    async with asking(server) as client:
        with pytest.raises(Failed):
            await client.ask(b"{}", {})
    assert len(server.requests) == 1


async def test_a_server_that_is_gone_is_tried_again() -> None:
    sock = bind("127.0.0.1", 0, "test", "")
    address = url(sock)
    sock.close()
    transport = HttpTransport()
    began_at = now()
    with pytest.raises(Failed):
        await Client(transport, f"{address}/v1", key="key", clock=SystemClock(1, now=loop_time)).ask(b"{}", {})
    assert now() - began_at >= 0.375 + 0.75
    await transport.close()


class Refusing(Server):
    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"code": "budget_exceeded"}}, status=402)


async def test_a_refusal_says_why() -> None:
    refusal = b'{"error": {"code": "budget_exceeded", "message": "x"}}'
    for body, code in ((refusal, "budget_exceeded"), (b"no json", ""), (b'{"error": {"code": null}}', ""), (b"{}", "")):
        assert _code(body) == code
    async with asking(Refusing()) as client:
        with pytest.raises(Failed) as failed:
            await client.ask(b"{}", {})
    assert failed.value.code == "budget_exceeded"
