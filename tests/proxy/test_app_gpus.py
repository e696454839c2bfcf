"""An engine of one's own in a gate that runs as a process: what its time cost is all in the books after a stop."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pricing.gpu import GpuRate
from tests.proxy.test_app import PRICE, QUICK, SLOW, Process

pytestmark = pytest.mark.slow

RATE = GpuRate(2_500_000_000)
GPU = {"usd_per_hour": 2.50}


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    process.config["providers"] = {"quick": {**QUICK, "gpu": GPU}, "slow": SLOW}
    process.config["pricing"] = {"overrides": {"slow/sim": PRICE}}
    process.write()
    process.start()
    yield process
    process.stop()


def ask(gate: Process, query: str) -> list[tuple[object, ...]]:
    """Of a gate that has stopped."""
    ledger = sqlite3.connect(gate.folder / "data" / "ledger.db")
    try:
        return ledger.execute(query).fetchall()
    finally:
        ledger.close()


def test_calls_and_idle_time_add_up_to_what_the_engine_cost(gate: Process) -> None:
    with ThreadPoolExecutor(8) as clients:
        replies = list(clients.map(lambda _: gate.post({"model": "m"}), range(24)))
    assert [status for status, _ in replies] == [200] * 24
    (row,) = [row for row in json.loads(gate.get("/targets", admin=True)[1]) if row["provider"] == "quick"]
    assert (row["price"]["id"], row["price"]["per_second"]) == ("gpu-694445", 694_445_000)
    assert gate.stop() == 0
    ((booked,),) = ask(gate, "SELECT body FROM event WHERE kind = 'gpu'")
    body = json.loads(str(booked))
    costs = [int(str(cost)) for (cost,) in ask(gate, "SELECT cost_usd_nanos FROM attempt WHERE gpu_s IS NOT NULL")]
    assert len(costs) == 24
    assert sum(costs) == body["charged_usd_nanos"]
    assert 0 <= sum(costs) - RATE.cost_usd_nanos(float(body["busy_s"])) <= 24 + 1  # each rounded up, and the text
    assert sum(costs) + body["idle_usd_nanos"] == body["price_usd_nanos"]
    assert abs(body["price_usd_nanos"] - RATE.cost_usd_nanos(float(body["elapsed_s"]))) <= 1
    gate.start()  # the next one goes on in the same ledger
    (idle,) = json.loads(gate.get("/spend", admin=True)[1])["idle_gpus"]
    assert (idle["provider"], idle["idle_usd_nanos"]) == ("quick", body["idle_usd_nanos"])


def test_a_reload_that_changes_the_price_books_what_was_until_then(gate: Process) -> None:
    assert gate.post({"model": "m"})[0] == 200
    gate.config["providers"] = {"quick": {**QUICK, "gpu": {"usd_per_hour": 5}}, "slow": SLOW}
    gate.write()
    gate.until(lambda: b'"gpu-1388889"' in gate.get("/targets", admin=True)[1])
    assert gate.post({"model": "m"})[0] == 200
    assert gate.stop() == 0
    bodies = [json.loads(str(body)) for (body,) in ask(gate, "SELECT body FROM event WHERE kind = 'gpu' ORDER BY seq")]
    assert [body["usd_nanos_per_s"] for body in bodies] == [694_445, 1_388_889]
    prices = [price for (price,) in ask(gate, "SELECT price_id FROM attempt ORDER BY call")]
    assert prices == ["gpu-694445", "gpu-1388889"]
