from __future__ import annotations

import asyncio
import json

import pytest

from proxy.clock import SystemClock, loop_time
from proxy.demo.story import Story, Window
from proxy.demo.vendor import RETRY_COUNT, RUN, Vendor
from proxy.providers.base import UpstreamRequest
from proxy.providers.simulated import Simulation, Spread

CALM = Story(seconds=60.0, windows=(), silence_s=4.0, think_s=1.0)
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
    assert (first.run, first.cause) == ("planner-1", "first")
    assert (second.run, second.cause) == ("", "retry")


async def test_who_leaves_early_pays_for_all_of_it_once() -> None:
    east = vendor()
    response = await east.send(asked())
    await response.read()
    await asyncio.sleep(0.25)
    response.close()
    response.close()
    (invoice,) = east.invoices.values()
    assert invoice.broken
    assert invoice.bill.completion_tokens == 10


async def test_an_answer_that_was_heard_to_its_end_stays_so_when_it_is_closed() -> None:
    east = vendor()
    response = await east.send(asked())
    while await response.read():
        pass
    response.close()
    (invoice,) = east.invoices.values()
    assert not invoice.broken


async def test_an_answer_that_has_ended_is_not_charged_again() -> None:
    east = vendor()
    first = await east.send(asked())
    await first.read()
    first.close()
    await whole(east, asked())
    bills = [invoice.bill for invoice in east.invoices.values()]
    first.close()
    assert [invoice.bill for invoice in east.invoices.values()] == bills
    assert [bill.completion_tokens for bill in bills] == [10, 10]


async def test_a_refusal_costs_nothing_and_ends_with_its_window() -> None:
    window = Window("east", "down", 10.0, 20.0, 1.0)
    east = vendor(Story(seconds=60.0, windows=(window,), silence_s=4.0, think_s=1.0))
    assert east.status == 200
    await asyncio.sleep(10.0)
    response = await east.send(asked())
    assert (response.status, east.status) == (500, 500)
    assert b"SIMULATED" in await response.read()
    assert await response.read() == b""
    assert (east.invoices, east.refused) == ({}, 1)
    await asyncio.sleep(10.0)
    assert (east.window, east.status) == (None, 200)
    await whole(east, asked())
    assert (len(east.invoices), len(east.asked_at)) == (1, 2)


async def test_a_slow_provider_says_200_at_once_and_then_nothing_for_long() -> None:
    window = Window("east", "slow", 0.0, 20.0, 1.0)
    east = vendor(Story(seconds=60.0, windows=(window,), silence_s=30.0, think_s=1.0))
    began_at = asyncio.get_running_loop().time()
    response = await east.send(asked())
    assert (response.status, east.status) == (200, 200)
    assert (await response.read()).startswith(b": ")
    assert asyncio.get_running_loop().time() == began_at
    assert b"data: " in await response.read()
    assert asyncio.get_running_loop().time() - began_at == pytest.approx(30.0)
    while await response.read():
        pass
    (invoice,) = east.invoices.values()
    assert (east.silent, invoice.broken, invoice.bill.completion_tokens) == (1, False, 10)


async def test_the_same_seed_strikes_the_same_calls() -> None:
    window = Window("east", "slow", 0.0, 1e6, 0.5)
    struck = []
    for _ in range(2):
        east = vendor(Story(seconds=60.0, windows=(window,), silence_s=4.0, think_s=1.0))
        before = []
        for _ in range(20):
            (await east.send(asked())).close()
            before.append(east.silent)
        struck.append(before)
    assert struck[0] == struck[1]
    assert 4 < struck[0][-1] < 16
