"""Runs of an orchestrator that dies, and the gate with it; both start again, and the orchestrator repeats every step.

Each step has its name, so what was answered before is not bought again: the vendor's own count of calls says so.
python -m tests.workers.replays [RUNS]
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from pathlib import Path

import aiohttp
import msgspec

from tests.workers.fleet import Clients, Fleet, play

STEPS = 4
AT_ONCE = 20


class Verdict(msgspec.Struct):
    runs: int
    steps: int  # that were ever taken, each counted once
    replayed: int  # steps that were taken again
    differing: int  # of them, those whose second answer is not the first
    bought: int  # calls that the vendor has answered

    @property
    def twice(self) -> int:
        return self.bought - self.steps


class Orchestrator:
    """Takes the steps of its runs one after another, some runs at a time."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._room = asyncio.Semaphore(AT_ONCE)
        self.answers: dict[tuple[int, int], bytes] = {}
        self.replayed = self.differing = 0

    async def take(self, until: dict[int, int]) -> None:
        """`until`: how many steps of each run, from its first on."""
        connections = aiohttp.TCPConnector(limit=0, force_close=True)  # so that both workers are asked
        async with aiohttp.ClientSession(connector=connections) as session:
            await asyncio.gather(*[self._run(session, run, steps) for run, steps in until.items()])

    async def _run(self, session: aiohttp.ClientSession, run: int, steps: int) -> None:
        async with self._room:
            for step in range(steps):
                await self._step(session, run, step)

    async def _step(self, session: aiohttp.ClientSession, run: int, step: int) -> None:
        url = f"http://127.0.0.1:{self._fleet.port}/agents/a/runs/r{run}/v1/chat/completions"
        message = {"role": "user", "content": f"run {run}, step {step}"}
        body = {"model": "m", "max_tokens": 500, "messages": [message], "temperature": 1}
        headers = {"Authorization": "Bearer x", "Idempotency-Key": f"step-{step}"}
        async with session.post(url, json=body, headers=headers) as reply:
            answer = await reply.read()
            assert reply.status == 200, answer
            before = self.answers.setdefault((run, step), answer)
            if reply.headers["x-headgate-cache"] == "replay":
                self.replayed += 1
                self.differing += before != answer


async def die_and_resume(clients: Clients, runs: int, seed: int) -> Verdict:
    fleet, chance = clients.fleet, random.Random(seed)
    orchestrator = Orchestrator(fleet)
    await orchestrator.take({run: chance.randint(1, STEPS) for run in range(runs)})
    for pid in (*fleet.workers(), fleet.supervisor):
        fleet.kill(pid)
    fleet.start()
    await clients.ready(60)
    await orchestrator.take(dict.fromkeys(range(runs), STEPS))
    _, bought = await clients.bill()
    return Verdict(runs, runs * STEPS, orchestrator.replayed, orchestrator.differing, bought)


def run(folder: Path, runs: int, seed: int = 1) -> Verdict:
    verdicts: list[Verdict] = []

    async def scene(clients: Clients) -> None:
        verdicts.append(await die_and_resume(clients, runs, seed))

    play(Fleet(folder, workers=2), scene)
    return verdicts[0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(run(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else 100))
