from __future__ import annotations

import asyncio
import json

import pytest

from proxy.clock import SystemClock, loop_time
from proxy.demo.story import Story, Window
from proxy.demo.vendor import RETRY_COUNT, RUN, Vendor
from proxy.providers.base import UpstreamRequest
from proxy.providers.simulated import Simulation, Spread

CALM = Story(seconds=60.0, windows=(), stall_share=0.0, stall_s=4.0, think_s=1.0)
FIRST = Spread(1.0, 0.0)
EACH = Spread(0.1, 0.0)


def vendor(story: Story = CALM) -> Vendor:
    simulation = Simulation(seed=1, first_token_s=FIRST, token_s=EACH, output_tokens=Spread(10, 0.0))
    made = Vendor("east", simulation, story=story, clock=SystemClock(1, now=loop_time))
    made.opens()
    return made


def asked(**headers: str) -> UpstreamRequest:
    body = {
        "model": "sim-small",
        "messages": [{"role": "user", "content": "word " * 200}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return UpstreamRequest("POST", "/v1/chat/completions", headers, json.dumps(body).encode())


async def whole(of: Vendor, request: UpstreamRequest) -> bytes:
    response = await of.send(request)
    data = b""
    while piece := await response.read():
        data += piece
    return data


def reported(stream: bytes) -> dict[str, int]:
    events = [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: {")]
    usage: dict[str, int] = json.loads(events[-1])["usage"]
    return usage


async def test_an_invoice_is_what_was_reported_at_the_public_price() -> None:
    east = vendor()
    usage = reported(await whole(east, asked()))
    (invoice,) = east.invoices.values()
    assert (invoice.provider, invoice.request_id.startswith("req_sim"), invoice.request_id[-2:]) == ("east", True, "_1")
    assert usage["completion_tokens"] == 10
    # sim-small: 0.15 USD a million tokens in, 0.60 out; all in nano-dollars a token
    assert invoice.usd_nanos == 150 * usage["prompt_tokens"] + 600 * 10
    assert not invoice.broken


async def test_a_prompt_that_is_cached_costs_half() -> None:
    east = vendor()
    await whole(east, asked())
    await whole(east, asked())
    first, second = east.invoices.values()
    cached = second.bill.cached_tokens
    assert cached > 200
    assert first.usd_nanos - second.usd_nanos == 75 * cached


async def test_an_invoice_knows_what_its_caller_said_of_it() -> None:
    east = vendor()
    await whole(east, asked(**{RETRY_COUNT: "0", RUN: "planner-1"}))
    await whole(east, asked(**{RETRY_COUNT: "1"}))
    first, second = east.invoices.values()
    assert (first.run, first.retried) == ("planner-1", False)
    assert (second.run, second.retried) == ("", True)


async def test_who_leaves_early_pays_for_what_was_made_until_then() -> None:
    east = vendor()
    response = await east.send(asked())
    await response.read()
    await asyncio.sleep(0.25)
    response.close()
    response.close()
    (invoice,) = east.invoices.values()
    assert invoice.broken
    assert invoice.bill.completion_tokens == 3


async def test_an_answer_that_has_ended_is_not_charged_again() -> None:
    east = vendor()
    first = await east.send(asked())
    await first.read()
    first.close()
    await whole(east, asked())
    bills = [invoice.bill for invoice in east.invoices.values()]
    first.close()
    assert [invoice.bill for invoice in east.invoices.values()] == bills
    assert [bill.completion_tokens for bill in bills] == [1, 10]


@pytest.mark.parametrize(("kind", "status", "hint"), [("down", 503, None), ("limited", 429, "1")])
async def test_a_refusal_costs_nothing_and_ends_with_its_window(kind: str, status: int, hint: str | None) -> None:
    window = Window("east", "down" if kind == "down" else "limited", 10.0, 20.0, 1.0)
    east = vendor(Story(seconds=60.0, windows=(window,), stall_share=0.0, stall_s=4.0, think_s=1.0))
    await asyncio.sleep(10.0)
    response = await east.send(asked())
    assert (response.status, response.headers.get("retry-after")) == (status, hint)
    assert b"SIMULATED" in await response.read()
    assert await response.read() == b""
    assert (east.invoices, east.refused) == ({}, 1)
    await asyncio.sleep(10.0)
    assert east.window is None
    await whole(east, asked())
    assert len(east.invoices) == 1


async def test_a_stall_comes_before_the_first_token_and_is_not_billed() -> None:
    east = vendor(Story(seconds=60.0, windows=(), stall_share=1.0, stall_s=4.0, think_s=1.0))
    began_at = asyncio.get_running_loop().time()
    response = await east.send(asked())
    await response.read()
    assert asyncio.get_running_loop().time() - began_at == pytest.approx(5.0)
    response.close()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.0):
            await east.send(asked())
    assert (len(east.invoices), east.stalled) == (1, 2)
