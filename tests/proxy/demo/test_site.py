from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession

from proxy.clock import SystemClock, loop_time
from proxy.demo.site import Site
from proxy.demo.story import Story, Window
from proxy.demo.vendor import RETRY_COUNT, RUN, Vendor
from proxy.providers.simulated import Simulation, Spread

DOWN = Window("east", "down", 10.0, 20.0, 1.0)
STORY = Story(seconds=60.0, windows=(DOWN,), silence_s=4.0, think_s=1.0)
BODY = b'{"model":"sim-small","messages":[{"role":"user","content":"hello"}],"stream":true}'


@asynccontextmanager
async def open_site() -> AsyncIterator[tuple[Vendor, str, ClientSession]]:
    simulation = Simulation(first_token_s=Spread(1.0, 0.0), token_s=Spread(0.1, 0.0), output_tokens=Spread(10, 0.0))
    vendor = Vendor("east", simulation, story=STORY, clock=SystemClock(1, now=loop_time))
    vendor.opens()
    site = Site(vendor)
    await site.start()
    try:
        async with ClientSession() as session:
            yield vendor, f"{site.base_url}/chat/completions", session
    finally:
        await site.stop()


async def test_an_answer_comes_over_the_wire_with_the_id_of_its_invoice() -> None:
    async with open_site() as (vendor, url, session):
        headers = {RETRY_COUNT: "1", RUN: "planner-1"}
        async with session.post(url, data=BODY, headers=headers) as reply:
            body = await reply.read()
        assert (reply.status, reply.content_type) == (200, "text/event-stream")
        assert body.endswith(b"data: [DONE]\n\n")
        invoice = vendor.invoices[reply.headers["x-request-id"]]
        assert (invoice.run, invoice.cause, invoice.broken) == ("planner-1", "retry", False)


async def test_a_caller_that_leaves_is_billed_for_the_whole_answer() -> None:
    async with open_site() as (vendor, url, session):
        reply = await session.post(url, data=BODY)
        await reply.content.readany()
        reply.close()
        await asyncio.sleep(0.45)
        (invoice,) = vendor.invoices.values()
        assert invoice.broken
        assert invoice.bill.completion_tokens == 10


async def test_a_refusal_keeps_its_status() -> None:
    async with open_site() as (vendor, url, session):
        await asyncio.sleep(10.0)
        async with session.post(url, data=BODY) as reply:
            assert reply.status == 500
            assert reply.content_type == "application/json"
        assert vendor.invoices == {}


async def test_who_asks_whether_it_is_well_is_told() -> None:
    async with open_site() as (vendor, url, session):
        models = url.replace("chat/completions", "models")
        statuses = []
        for _ in range(3):
            async with session.get(models) as reply:
                statuses.append(reply.status)
            await asyncio.sleep(10.0)
        assert statuses == [200, 500, 200]
        assert (vendor.asked_at, vendor.invoices) == ([], {})
