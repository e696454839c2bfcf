"""A simulated provider on a loopback port: the HTTP around a `Vendor`, so that both columns meet it over the wire.

A caller that leaves cancels the handler, which closes the answer; the vendor bills it all the same. Who asks for the
list of models learns whether it is well, and gets none.
"""

from __future__ import annotations

import math

from proxy.demo.vendor import RETRY_COUNT, RUN, Vendor
from proxy.errors import ProxyError
from proxy.listeners import Listener, bind, url
from proxy.providers.base import UpstreamRequest, UpstreamResponse
from proxy.snapshot import Limits
from proxy.surfaces.body import read_body
from proxy.surfaces.client import Client
from proxy.surfaces.connection import Connection, Edges
from proxy.surfaces.request import Request
from proxy.surfaces.server import Server

PATH = "/v1/chat/completions"
MODELS = "/v1/models"
JSON = (("content-type", "application/json"),)
LIMITS = Limits()


class Site:
    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self._socket = bind("127.0.0.1", 0, f"simulated provider {vendor.name}", "no option")
        self._listener = Listener(self._socket, Server(self._answer, Edges(), lambda: vendor.name))

    @property
    def base_url(self) -> str:
        return f"{url(self._socket)}/v1"

    async def start(self) -> None:
        await self._listener.start()

    async def stop(self) -> None:
        await self._listener.stop()

    async def _answer(self, request: Request, connection: Connection) -> bool:
        """Says whether the connection can be used again."""
        client = Client(request, connection, LIMITS.write_timeout_s)
        if (request.method, request.target) == ("GET", MODELS):
            await client.whole(self._vendor.status, [*JSON], b'{"object":"list","data":[]}')
            return client.keep_alive
        if (request.method, request.target) != ("POST", PATH):
            await client.whole(404, [], b"")
            return client.keep_alive
        told = {name: request.headers[name] for name in (RETRY_COUNT, RUN) if name in request.headers}
        body = await read_body(request, connection, limits=LIMITS, seconds_allowed=math.inf)
        upstream = await self._vendor.send(UpstreamRequest("POST", PATH, told, body))
        try:
            await _pass_on(upstream, client)
        except ProxyError:  # the simulated answer breaks off, and so does this one
            connection.reset()
        finally:
            upstream.close()
        return client.keep_alive


async def _pass_on(upstream: UpstreamResponse, client: Client) -> None:
    await client.start(upstream.status, [*upstream.headers.items()])
    while data := await upstream.read():
        await client.write(data)
    await client.end()
