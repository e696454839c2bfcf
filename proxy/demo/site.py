"""A simulated provider on a loopback port: the HTTP around a `Vendor`, so that both columns meet it over the wire.

A caller that leaves cancels the handler, which closes the answer, which stops the simulated model and its bill.
"""

from __future__ import annotations

from aiohttp import web

from proxy.demo.vendor import RETRY_COUNT, RUN, Vendor
from proxy.listeners import bind, url
from proxy.providers.base import UpstreamRequest, UpstreamResponse

PATH = "/v1/chat/completions"
GONE_S = 1.0  # what still runs when the demo is over


class Site:
    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self._socket = bind("127.0.0.1", 0, f"simulated provider {vendor.name}", "no option")
        application = web.Application()
        application.router.add_post(PATH, self._answer)
        self._runner = web.AppRunner(
            application, access_log=None, handle_signals=False, handler_cancellation=True, shutdown_timeout=GONE_S
        )

    @property
    def base_url(self) -> str:
        return f"{url(self._socket)}/v1"

    async def start(self) -> None:
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        told = {name: request.headers[name] for name in (RETRY_COUNT, RUN) if name in request.headers}
        asked = UpstreamRequest("POST", PATH, told, await request.read())
        upstream = await self._vendor.send(asked)
        try:
            return await _pass_on(upstream, request)
        finally:
            upstream.close()


async def _pass_on(upstream: UpstreamResponse, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=upstream.status, headers=upstream.headers)
    await response.prepare(request)
    while data := await upstream.read():
        await response.write(data)
    await response.write_eof()
    return response
