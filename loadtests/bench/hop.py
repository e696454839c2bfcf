"""The yardstick: the least that a proxy made of aiohttp can do, and nothing that a gate adds.

It reads a body, sends it to the upstream over one shared session, and passes status, content type and bytes back as
they come. uvloop and sensible settings; no identity, no parsing, no metering, no log, and the garbage collector as
Python starts it. What a gate costs above this is the gate's own.

    python loadtests/bench/hop.py --port 9001 --upstream http://127.0.0.1:9000
"""

from __future__ import annotations

import argparse
import asyncio
import signal

import aiohttp
import uvloop
from aiohttp import web

BODY_BYTES_MAX = 32 * 1024 * 1024


class Hop:
    def __init__(self, session: aiohttp.ClientSession, upstream: str) -> None:
        self._session = session
        self._upstream = upstream

    async def forward(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {"Content-Type": request.content_type}
        async with self._session.post(self._upstream + request.path, data=body, headers=headers) as reply:
            if reply.content_length is not None:
                return web.Response(status=reply.status, body=await reply.read(), content_type=reply.content_type)
            return await self._stream(request, reply)

    async def _stream(self, request: web.Request, reply: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.headers["Content-Type"]})
        await response.prepare(request)
        async for data in reply.content.iter_any():
            await response.write(data)
        await response.write_eof()
        return response


async def ready(_: web.Request) -> web.Response:
    return web.Response(text="ready")


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


async def serve(port: int, upstream: str) -> None:
    async with session() as shared:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_get("/health/ready", ready)
        app.router.add_post("/v1/chat/completions", Hop(shared, upstream).forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description="A bare aiohttp hop: the benchmark's yardstick.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="base address without a path")
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.upstream))


if __name__ == "__main__":
    main()
