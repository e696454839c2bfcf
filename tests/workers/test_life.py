"""Workers live, die and are reloaded while calls go on: nobody is refused; everybody learns everything, or nobody."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from proxy.tasks import Tasks
from tests.workers.fleet import Clients, Fleet, play

pytestmark = pytest.mark.slow


async def under_load(clients: Clients, stopped: asyncio.Event) -> None:
    while not stopped.is_set():
        await clients.call()


def test_a_rolling_reload_breaks_no_call(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2)

    async def scene(clients: Clients) -> None:
        stopped, tasks = asyncio.Event(), Tasks(lambda name, error: None)
        callers = [tasks.start("caller", under_load(clients, stopped)) for _ in range(16)]
        for number in range(5):
            fleet.config["defaults"] = {"deadline_s": 100 + number}
            fleet.write()
            os.kill(fleet.supervisor, signal.SIGHUP)
            await clients.until(lambda number=number: fleet.log().count('"reloaded"') > number)
        stopped.set()
        await asyncio.gather(*callers)
        assert clients.broken == 0
        assert {answer.status for answer in clients.answers} == {200}
        assert len(clients.answers) > 50
        assert fleet.stop() == 0
        started = fleet.log().count('"event":"call"')
        assert started == len(clients.answers)

    play(fleet, scene)


def test_a_broken_configuration_reaches_no_worker(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2)

    async def scene(clients: Clients) -> None:
        fleet.config["models"] = {"m": "nobody/real"}
        fleet.write()
        os.kill(fleet.supervisor, signal.SIGHUP)
        await clients.until(lambda: '"reload refused"' in fleet.log())
        await asyncio.gather(*[clients.call() for _ in range(10)])
        assert {answer.status for answer in clients.answers} == {200}

    play(fleet, scene)


def test_a_worker_that_is_killed_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2, budget=[{"usd": 10, "per": "total"}])

    async def scene(clients: Clients) -> None:
        before = fleet.workers()
        await asyncio.gather(*[clients.call() for _ in range(20)])
        fleet.kill(before[0])
        await clients.until(lambda: len(fleet.workers()) == 2 and fleet.workers() != before, 5)
        assert before[1] in fleet.workers()
        await asyncio.gather(*[clients.call() for _ in range(20)])  # some on connections that the dead one had
        answers = await asyncio.gather(*[clients.call() for _ in range(20)])
        assert [answer.status for answer in answers if answer] == [200] * 20
        await asyncio.sleep(3)
        assert await clients.metric("headgate_worker_restarts_total") == 1
        bill, _ = await clients.bill()
        standing = await clients.standing("agent:a")
        assert standing["spent"] >= bill
        assert standing["held"] == 0

    play(fleet, scene)


@pytest.mark.parametrize(("abort", "workers"), [("stops", 2), ("stops", 1), ("unknown", 2)])
def test_a_killed_process_leaves_what_it_had_relayed_or_the_whole_hold(
    tmp_path: Path, abort: str, workers: int
) -> None:
    fleet = Fleet(tmp_path, workers=workers, budget=[{"usd": 10, "per": "total"}], abort=abort)

    async def scene(clients: Clients) -> None:
        tasks = Tasks(lambda name, error: None)
        reading = [tasks.start("reader", clients.stream(far=10_000)) for _ in range(4)]
        await clients.until(lambda: clients.streaming == 4)
        assert (await clients.standing("agent:a"))["held"] >= 4 * 5_000 * 2_000
        for pid in fleet.workers() if workers > 1 else [fleet.supervisor]:
            fleet.kill(pid)
        await asyncio.gather(*reading)
        bill, _ = await clients.bill()
        if workers == 1:
            fleet.start()
        await clients.ready()
        await asyncio.sleep(2)
        standing = await clients.standing("agent:a")
        charged = standing["spent"] + standing["unresolved"]
        print(f"bill {bill}, charged {charged}")
        assert standing["held"] == 0
        if abort == "stops":
            assert bill <= charged <= bill + 4 * 150 * 2_000, "a second of output each, and of input"
        else:
            assert charged >= 4 * 5_000 * 2_000

    play(fleet, scene)


def test_totals_are_those_of_all_workers(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2)

    async def scene(clients: Clients) -> None:
        await asyncio.gather(*[clients.call() for _ in range(60)])
        await asyncio.sleep(2)
        assert await clients.metric("headgate_calls_started_total") == 60
        assert await clients.metric("headgate_requests_total") == 60
        assert await clients.metric("headgate_in_flight_requests") == 0
        assert await clients.metric("headgate_workers") == 2
        assert abs(await clients.metric("headgate_ledger_drift_usd")) < 1e-12
        assert await clients.metric("headgate_attempt_budget_remaining_ratio") == 1.0
        (target,) = await clients.targets()
        health = target["health"]
        assert isinstance(health, dict)
        assert (health["state"], health["calls"], health["out_of"], health["in_flight"]) == ("closed", 60, [0, 2], 0)

    play(fleet, scene)


def test_a_run_is_killed_in_every_worker(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2)

    async def scene(clients: Clients) -> None:
        await asyncio.gather(*[clients.call("bad") for _ in range(10)])
        assert await clients.post("/runs/bad/kill", {}) == 200
        answers = await asyncio.gather(*[clients.call("bad") for _ in range(20)])
        assert {answer.code for answer in answers if answer} == {"run_killed"}
        for pid in fleet.workers():
            fleet.kill(pid)
        await clients.ready()
        answers = await asyncio.gather(*[clients.call("bad") for _ in range(5)])
        assert {answer.code for answer in answers if answer} <= {"run_killed"}

    play(fleet, scene)


def test_a_fresh_worker_knows_who_stands_below_a_killed_run(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2)

    async def scene(clients: Clients) -> None:
        await asyncio.gather(*[clients.call("low", parent="top") for _ in range(10)])
        assert await clients.post("/runs/top/kill", {}) == 200
        before = fleet.workers()
        for pid in before:
            fleet.kill(pid)
        await clients.until(lambda: len(fleet.workers()) == 2 and not set(fleet.workers()) & set(before), 10)
        await clients.ready()
        answers = await asyncio.gather(*[clients.call("low") for _ in range(10)])
        assert {answer.code for answer in answers if answer} == {"run_killed"}

    play(fleet, scene)


def test_a_worker_that_lost_its_supervisor_ends_its_calls_and_is_adopted(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=2, budget=[{"usd": 10, "per": "total"}])

    async def scene(clients: Clients) -> None:
        tasks = Tasks(lambda name, error: None)
        stopped = asyncio.Event()
        callers = [tasks.start("caller", under_load(clients, stopped)) for _ in range(8)]
        await asyncio.sleep(0.5)
        stopped.set()
        await asyncio.sleep(0.03)  # who has just connected is being served by then, and others have not ended
        fleet.kill(fleet.supervisor)
        await asyncio.gather(*callers)
        fleet.start()
        await clients.ready()
        bill, _ = await clients.bill()
        assert (await clients.standing("agent:a"))["spent"] == bill
        assert clients.broken == 0, "the calls that ran were to end"

    play(fleet, scene)
