"""Processes of a gate under load are killed, one after another, at random; then the books are held against the bill.

python -m tests.workers.kills 500 [SEED]
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import msgspec

from proxy.cli.progress import Progress
from proxy.clock import SystemClock
from proxy.tasks import Tasks
from tests.workers.fleet import Clients, Fleet, play

BUDGET = [{"usd": 100_000, "per": "total"}, {"usd": 50_000, "per": "run"}, {"concurrency": 300}]
CALLERS = 24
BETWEEN_S = (0.15, 0.6)
TOLD_EVERY = 10  # kills
SUPERVISOR_SHARE = 0.2


class Verdict(msgspec.Struct):
    kills: int
    answers: int
    broken: int  # calls whose client got no whole answer
    lost: int  # answers that the books do not know, or know at a lower cost
    by_hold: int  # answers on their way to the client when the worker died: charged by their hold
    doubled: int  # calls that stand in the books twice
    bill: int
    spent: int  # by calls whose end is known
    expired: int  # by holds that nobody ended
    balance: int  # what the account says it has spent, unresolved money included
    held: int
    missing: list[str] = []

    @property
    def right(self) -> bool:
        whole = self.lost == self.doubled == self.held == 0
        return whole and self.spent <= self.bill <= self.spent + self.expired == self.balance


async def torment(clients: Clients, kills: int, seed: int) -> None:
    fleet, chance = clients.fleet, random.Random(seed)
    stopped = asyncio.Event()
    tasks = Tasks(_failed)
    callers = [tasks.start("caller", _call(clients, number, stopped)) for number in range(CALLERS)]
    progress = Progress("kills", sys.stderr, SystemClock(), whole=kills)
    for number in range(kills):
        progress.add(number > 0)
        if number % TOLD_EVERY == 0 and not sys.stderr.isatty():
            print(f"{number} of {kills} kills, {len(clients.answers)} answers, {clients.broken} broken", flush=True)
        await asyncio.sleep(chance.uniform(*BETWEEN_S))
        if chance.random() < SUPERVISOR_SHARE:
            fleet.kill(fleet.supervisor)
            fleet.start()
            await clients.ready(60)
        elif victims := fleet.workers():
            fleet.kill(chance.choice(victims))
    progress.end()
    stopped.set()
    await asyncio.gather(*callers)
    await clients.ready(60)


def _failed(name: str, error: BaseException) -> None:
    raise error


async def _call(clients: Clients, number: int, stopped: asyncio.Event) -> None:
    while not stopped.is_set():
        if await clients.call(f"r{number % 4}") is None:
            await asyncio.sleep(0.05)


async def judge(clients: Clients, kills: int) -> Verdict:
    """Against the ledger's file, when the gate has stopped, and the accounts that the next start makes of it."""
    fleet = clients.fleet
    code = fleet.stop()
    assert code == 0, f"exit code {code}: {fleet.log()[-3000:]}"
    costs, expired = _books(fleet.folder / "data" / "ledger.db")
    fleet.start()
    await clients.ready(60)
    standing = await clients.standing("agent:a")
    bill, _ = await clients.bill()
    served = [answer for answer in clients.answers if answer.status == 200]
    late = [answer for answer in served if costs.get(answer.id) != [answer.cost_usd_nanos]]
    missing = [answer.id for answer in late if expired.get(answer.id, 0) < answer.cost_usd_nanos]
    twice = sum(len(each) - 1 for each in costs.values()) + len(expired.keys() & costs.keys())
    return Verdict(
        kills=kills,
        answers=len(served),
        broken=clients.broken,
        lost=len(missing),
        by_hold=len(late) - len(missing),
        doubled=twice,
        bill=bill,
        spent=sum(map(sum, costs.values())),
        expired=sum(expired.values()),
        balance=standing["spent"] + standing["unresolved"],
        held=standing["held"],
        missing=missing[:5],
    )


def _books(file: Path) -> tuple[dict[str, list[int]], dict[str, int]]:
    costs: dict[str, list[int]] = {}
    with closing(sqlite3.connect(file)) as connection:
        for id, cost in connection.execute("SELECT request_id, cost_usd_nanos FROM outcome WHERE attempts > 0"):
            costs.setdefault(id, []).append(cost)
        events = connection.execute("SELECT subject, body FROM event WHERE kind = 'expire'").fetchall()
    expired = {id: _money(json.loads(body)["changes"]) for id, body in events}
    return costs, expired


def _money(changes: list[list[object]]) -> int:
    """Of the agent's account alone, as the others say the same."""
    return sum(sum(int(str(part)) for part in change[5:8]) for change in changes if change[:2] == ["agent:a", "usd"])


def run(folder: Path, kills: int, seed: int) -> Verdict:
    fleet = Fleet(folder, workers=2, budget=BUDGET)
    verdicts: list[Verdict] = []

    async def scene(clients: Clients) -> None:
        await torment(clients, kills, seed)
        verdicts.append(await judge(clients, kills))

    play(fleet, scene)
    return verdicts[0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        verdict = run(Path(folder), int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    print(verdict)
    sys.exit(0 if verdict.right else 1)
