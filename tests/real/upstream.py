"""An OpenAI-compatible upstream for the real clients: scripted by the name of the model, with a bill of its own.

`chat`, `embed` and any other name behave; `weave` interleaves its tool calls; `busy` is always overloaded, `busy-twice`
and `busy-second` only at first; `context`, `missing`, `denied` and `broken` refuse; `slow` streams for twenty seconds
and `late` answers after as long, and both note who left; `cut`, `fault` and `fault-first` go wrong inside a stream.
`/__log` and `/__bill` tell what happened, `/__reset` forgets it. Run as `python -m tests.real.upstream`: it prints its
port as one line of JSON and serves until it is terminated.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from tests.real import replies
from tests.real.replies import Json

API_KEY = "sk-upstream-of-the-real-clients"
SLOW_CHUNKS = 400
SLOW_GAP_S = 0.05

UNFINISHED = ("slow", "cut", "fault", "fault-first")  # streams that never get to their usage

REFUSALS: dict[str, tuple[int, Json, dict[str, str]]] = {
    "busy": (
        429,
        replies.error("slow down", "rate_limit_exceeded", "requests"),
        {"retry-after": "1", "retry-after-ms": "50", "x-ratelimit-remaining-requests": "0"},
    ),
    "busy-twice": (429, replies.error("slow down", "rate_limit_exceeded", "requests"), {"retry-after-ms": "50"}),
    "busy-second": (429, replies.error("slow down", "rate_limit_exceeded", "requests"), {"retry-after": "1"}),
    "context": (
        400,
        replies.error("too many tokens", "context_length_exceeded", "invalid_request_error", "messages"),
        {},
    ),
    "missing": (404, replies.error("no such model", "model_not_found", "invalid_request_error"), {}),
    "denied": (401, replies.error("bad key", "invalid_api_key", "invalid_request_error"), {}),
    "broken": (500, replies.error("oh no", "internal_error", "server_error"), {}),
}
REFUSED_CALLS = {"busy-twice": 2, "busy-second": 1}  # the others refuse for ever


class Upstream:
    """The log of every call, oldest first; replies are made in `tests.real.replies`."""

    def __init__(self) -> None:
        self.log: list[Json] = []

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body: Json = await request.json()
        entry = self._enter(request, body)
        try:
            if refused := self._refusal(request, body["model"]):
                entry["status"], error, headers = refused
                return web.json_response(error, status=entry["status"], headers=headers | {"x-request-id": entry["id"]})
            if body.get("stream"):
                return await self._stream(request, body, entry)
            return await self._whole(request.path, body, entry)
        except (ConnectionResetError, asyncio.CancelledError):
            entry |= {"left": True, "left_at": time.monotonic()}
            raise
        finally:
            entry["ended"] = True

    def _enter(self, request: web.Request, body: Json) -> Json:
        entry: Json = {
            "id": f"up-{len(self.log)}",
            "path": request.path,
            "model": body["model"],
            "stream": bool(body.get("stream")),
            "client_retry": request.headers.get("x-stainless-retry-count"),
            "at": time.monotonic(),
            "status": 200,
            "chunks": 0,
            "left": False,
            "ended": False,
            "usage": None,
        }
        self.log.append(entry)
        return entry

    def _refusal(self, request: web.Request, model: str) -> tuple[int, Json, dict[str, str]] | None:
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            return 401, replies.error("whose key is this?", "invalid_api_key", "invalid_request_error"), {}
        calls = sum(1 for entry in self.log if entry["model"] == model)
        if calls > REFUSED_CALLS.get(model, calls):
            return None
        return REFUSALS.get(model)

    async def _whole(self, path: str, body: Json, entry: Json) -> web.Response:
        number = len(self.log)
        if body["model"] == "late":
            await asyncio.sleep(SLOW_CHUNKS * SLOW_GAP_S)
        reply = replies.whole(path, body, number)
        entry["usage"] = reply["usage"]
        return web.json_response(reply, headers={"x-request-id": entry["id"]})

    async def _stream(self, request: web.Request, body: Json, entry: Json) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "x-request-id": entry["id"]})
        await response.prepare(request)
        async for event in _events(request.path, body, len(self.log)):
            await response.write(_frame(event))
            entry["chunks"] += 1
        if body["model"] not in UNFINISHED:
            entry["usage"] = replies.whole(request.path, body, len(self.log))["usage"]
        if body["model"] == "cut":
            assert request.transport is not None
            await asyncio.sleep(0.05)  # let the chunks out first: an abort drops what is still in the buffer
            request.transport.abort()
        elif request.path != "/v1/responses":
            await response.write(b"data: [DONE]\n\n")
        return response

    async def bill(self, _: web.Request) -> web.Response:
        """Calls and tokens by model, of the calls that were answered with usage."""
        bill: dict[str, Json] = {}
        for entry in self.log:
            if spent := entry["usage"]:
                line = bill.setdefault(entry["model"], {"calls": 0, "input_tokens": 0, "output_tokens": 0})
                line["calls"] += 1
                line["input_tokens"] += spent.get("prompt_tokens", spent.get("input_tokens", 0))
                line["output_tokens"] += spent.get("completion_tokens", spent.get("output_tokens", 0))
        return web.json_response(bill)

    async def tell(self, _: web.Request) -> web.Response:
        return web.json_response(self.log)

    async def reset(self, _: web.Request) -> web.Response:
        self.log.clear()
        return web.json_response({})


async def _events(path: str, body: Json, number: int) -> AsyncIterator[Json]:
    model = body["model"]
    if model == "slow":
        for step in range(SLOW_CHUNKS):
            yield replies.chat_chunk(body, number, {"content": f"word{step} "})
            await asyncio.sleep(SLOW_GAP_S)
    elif model in ("cut", "fault", "fault-first"):
        for step in range(0 if model == "fault-first" else 3):
            yield replies.chat_chunk(body, number, {"content": f"word{step} "})
        if model != "cut":
            await asyncio.sleep(SLOW_GAP_S)  # or it arrives with them, and all is still before the first byte
            yield replies.error("the engine fell over", "engine_failure", "server_error")
    else:
        for event in _whole_events(path, body, number):
            yield event


def _whole_events(path: str, body: Json, number: int) -> Iterable[Json]:
    if path == "/v1/responses":
        return replies.response_events(body, number)
    if path == "/v1/completions":
        return replies.completion_chunks(body, number)
    return replies.chat_chunks(body, number)


def _frame(event: Json) -> bytes:
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "chat", "object": "model", "owned_by": "upstream"}]})


def application() -> web.Application:
    upstream = Upstream()
    app = web.Application(client_max_size=64 * 2**20)
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"):
        app.router.add_post(path, upstream.serve)
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/__log", upstream.tell)
    app.router.add_get("/__bill", upstream.bill)
    app.router.add_post("/__reset", upstream.reset)
    return app


async def main() -> None:
    runner = web.AppRunner(application(), handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
