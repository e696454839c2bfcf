"""An engine of one's own behind several workers: its time is shared out once, whoever of them sends."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from pricing.gpu import GpuRate
from tests.workers.fleet import Clients, Fleet, play

pytestmark = pytest.mark.slow

RATE = GpuRate(2_500_000_000)


def fleet_with_an_engine(folder: Path) -> Fleet:
    fleet = Fleet(folder, workers=2)
    providers = fleet.config["providers"]
    assert isinstance(providers, dict)
    providers["up"]["gpu"] = {"usd_per_hour": 2.50}
    del fleet.config["pricing"]
    fleet.write()
    return fleet


def ask(fleet: Fleet, query: str) -> list[tuple[object, ...]]:
    """Of a gate that has stopped."""
    ledger = sqlite3.connect(fleet.folder / "data" / "ledger.db")
    try:
        return ledger.execute(query).fetchall()
    finally:
        ledger.close()


def test_what_calls_through_two_workers_paid_is_the_busy_time_and_the_rest_is_idle(tmp_path: Path) -> None:
    fleet = fleet_with_an_engine(tmp_path)

    async def scene(clients: Clients) -> None:
        await asyncio.gather(*[clients.call() for _ in range(200)])
        assert {answer.status for answer in clients.answers} == {200}
        assert fleet.stop() == 0

    play(fleet, scene)
    ((booked,),) = ask(fleet, "SELECT body FROM event WHERE kind = 'gpu'")
    body = json.loads(str(booked))
    shares = ask(fleet, "SELECT gpu_s, cost_usd_nanos FROM attempt WHERE gpu_s IS NOT NULL")
    costs = [int(str(cost)) for _, cost in shares]
    assert len(costs) == 200
    assert sum(costs) == body["charged_usd_nanos"]
    assert 0 <= sum(costs) - RATE.cost_usd_nanos(float(body["busy_s"])) <= 200 + 1  # each rounded up, and the text
    assert sum(costs) + body["idle_usd_nanos"] == body["price_usd_nanos"]
    assert sum(float(str(seconds)) for seconds, _ in shares) < float(body["busy_s"]) + 200 * 1e-6


def test_a_killed_workers_streams_stop_counting(tmp_path: Path) -> None:
    fleet = fleet_with_an_engine(tmp_path)

    async def scene(clients: Clients) -> None:
        readers = asyncio.gather(*[clients.stream(far=2_000, max_tokens=200) for _ in range(8)])  # four seconds
        await clients.until(lambda: clients.streaming == 8)
        before = fleet.workers()
        fleet.kill(before[0])
        await readers
        await clients.until(lambda: len(fleet.workers()) == 2 and before[0] not in fleet.workers(), 10)
        answer = await clients.call()
        assert answer is not None
        assert fleet.stop() == 0

    play(fleet, scene)
    (last,) = ask(fleet, "SELECT gpu_s FROM attempt WHERE gpu_s IS NOT NULL ORDER BY call DESC LIMIT 1")
    assert float(str(last[0])) > 0.004, "it was alone there: the vendor takes five milliseconds at least"
    ((booked,),) = ask(fleet, "SELECT body FROM event WHERE kind = 'gpu'")
    body = json.loads(str(booked))
    assert body["charged_usd_nanos"] <= RATE.cost_usd_nanos(float(body["busy_s"])) + 20
