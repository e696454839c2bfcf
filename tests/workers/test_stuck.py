"""F60: an event loop that stands still, in real processes. A signal makes them sleep where their loop runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.workers.fleet import Clients, Fleet, play

pytestmark = pytest.mark.slow

# Loaded by every interpreter that finds it on its path, before anything else.
STUCK = """
import signal, time
def get_stuck(number, frame):
    time.sleep({seconds})
signal.signal(signal.SIGUSR1, get_stuck)
"""


def stuck(folder: Path, monkeypatch: pytest.MonkeyPatch, *, seconds: int) -> None:
    (folder / "sitecustomize.py").write_text(STUCK.format(seconds=seconds))
    monkeypatch.setenv("PYTHONPATH", str(folder))


def events(fleet: Fleet, name: str) -> list[dict[str, object]]:
    lines = [line for line in fleet.log().splitlines() if line.startswith("{")]
    return [event for line in lines if (event := json.loads(line))["event"] == name]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_loop_blocked_for_seconds_delays_calls_and_says_where_it_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    stuck(tmp_path, monkeypatch, seconds=4)
    fleet = Fleet(tmp_path, workers=workers)

    async def scene(clients: Clients) -> None:
        await clients.call()
        pid = fleet.workers()[0] if workers > 1 else fleet.supervisor
        os.kill(pid, signal.SIGUSR1)
        answers = await asyncio.gather(*[clients.call() for _ in range(10)])
        assert [answer.status for answer in answers if answer] == [200] * 10, "delayed, not refused"
        await clients.until(lambda: bool(events(fleet, "event loop blocked")))
        first = events(fleet, "event loop blocked")[0]
        assert first["thread"] == "MainThread"
        assert "get_stuck" in str(first["at"]).split(" > ")[-1]
        await asyncio.sleep(3)
        assert await clients.metric("headgate_event_loop_blocked_total") == 1
        assert not events(fleet, "worker died")
        assert fleet.stop() == 0

    play(fleet, scene)


def test_a_gate_that_hangs_is_ended_after_thirty_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck(tmp_path, monkeypatch, seconds=120)
    fleet = Fleet(tmp_path, workers=1)

    async def scene(clients: Clients) -> None:
        await clients.call()
        gate = fleet.gate
        assert gate is not None
        os.kill(fleet.supervisor, signal.SIGUSR1)
        await clients.until(lambda: gate.poll() is not None, 90)
        assert gate.returncode == 70
        last = events(fleet, "ended by the watchdog")[0]
        assert "get_stuck" in str(last["at"])
        fleet.start()  # as a service manager does
        await clients.ready()
        answer = await clients.call()
        assert answer is not None
        assert answer.status == 200

    play(fleet, scene)


def test_a_worker_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck(tmp_path, monkeypatch, seconds=120)
    fleet = Fleet(tmp_path, workers=2)

    async def scene(clients: Clients) -> None:
        await clients.call()
        before = fleet.workers()
        os.kill(before[0], signal.SIGUSR1)
        await clients.until(lambda: len(fleet.workers()) == 2 and before[0] not in fleet.workers(), 45)
        assert before[1] in fleet.workers()
        await clients.ready()
        answers = await asyncio.gather(*[clients.call() for _ in range(10)])
        assert {answer.status for answer in answers if answer} == {200}

    play(fleet, scene)


def test_a_gate_that_was_stopped_and_goes_on_is_not_taken_for_one_that_hangs(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, workers=1)

    async def scene(clients: Clients) -> None:
        await clients.call()
        os.kill(fleet.supervisor, signal.SIGSTOP)
        await asyncio.sleep(5)
        os.kill(fleet.supervisor, signal.SIGCONT)
        answer = await clients.call()
        assert answer is not None
        assert answer.status == 200
        assert not events(fleet, "event loop blocked")

    play(fleet, scene)
