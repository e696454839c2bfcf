"""A scrape is written in turns, and the loop serves others in between."""

from __future__ import annotations

import asyncio

import pytest

from proxy.telemetry.otel_view import View
from proxy.telemetry.scrape import PAUSE_S
from proxy.telemetry.text import format_for
from tests.proxy.telemetry.samples import OPENMETRICS, OUTCOME, metrics


async def test_between_two_turns_others_are_served() -> None:
    made, served = metrics(OUTCOME), 0
    turns = sum(1 for _ in metrics(OUTCOME).scrapes.turns(format_for(OPENMETRICS), "headgate", []))

    async def serve() -> None:
        nonlocal served
        while True:
            await asyncio.sleep(PAUSE_S / 2)
            served += 1

    other, began_at = asyncio.get_running_loop().create_task(serve()), asyncio.get_running_loop().time()
    await made.scrapes.scraped(OPENMETRICS, "headgate")
    other.cancel()
    assert turns > 20
    assert served >= 2 * turns
    assert asyncio.get_running_loop().time() - began_at == pytest.approx(PAUSE_S * (turns + 1))


@pytest.mark.parametrize("view", ["headgate", "otel"])
async def test_a_scrape_in_turns_has_the_text_of_one_in_one_go(view: View) -> None:
    made = metrics(OUTCOME)
    text, content_type = await made.scrapes.scraped(OPENMETRICS, view)
    once, same_type = made.exposition(OPENMETRICS, view)
    ours = [[line for line in each.splitlines() if b"headgate_" in line or b"gen_ai" in line] for each in (text, once)]
    assert ours[0] == ours[1]
    assert len(ours[0]) > 100
    assert (content_type, text[-6:]) == (same_type, b"# EOF\n")
