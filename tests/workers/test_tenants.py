"""Two teams with runs of one name, through whole gates: an operator's word and a budget are one team's, and stay so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.workers.fleet import Clients, Fleet, play

pytestmark = pytest.mark.slow

RED, RED_TOO, BLUE = (f"hg-{name}-0123456789abcdef0123456789" for name in ("red", "redtoo", "blue"))
KEYS = [{"key": RED, "team": "red"}, {"key": RED_TOO, "team": "red"}, {"key": BLUE, "team": "blue"}]
STEPS = 12


def two_teams(folder: Path, workers: int) -> Fleet:
    return Fleet(folder, workers=workers, budget=[{"steps": STEPS, "per": "run"}], keys=KEYS)


async def codes(clients: Clients, key: str, count: int = 6, run: str = "r1") -> set[str | None]:
    answers = await asyncio.gather(*[clients.call(run, 50, key=key) for _ in range(count)])
    return {answer.code for answer in answers if answer is not None}


async def left(clients: Clients, tenant: str) -> object:
    (limit,) = (await clients.admin(f"/runs/r1?tenant={tenant}"))["budget"]  # type: ignore[misc]  # one limit
    return limit["left"]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_said_of_one_teams_run_is_not_said_of_anothers(workers: int, tmp_path: Path) -> None:
    fleet = two_teams(tmp_path, workers)

    async def scene(clients: Clients) -> None:
        assert await codes(clients, RED) == await codes(clients, BLUE) == {None}
        status, answer = await clients.order("/runs/r1/pause", {})
        assert status == 409
        assert "team:blue, team:red" in str(answer["error"])
        assert (await clients.order("/runs/r1/pause?tenant=team:red", {}))[0] == 200
        assert (await codes(clients, RED_TOO), await codes(clients, BLUE, 1)) == ({"run_paused"}, {None})
        assert (await clients.order("/runs/r1/resume?tenant=team:red", {}))[0] == 200
        assert await codes(clients, RED_TOO, 1) == {None}
        status, answer = await clients.order("/runs/r1/kill?tenant=team:red", {})
        assert (status, answer["run"], answer["tenant"], answer["state"]) == (200, "r1", "team:red", "killed")
        assert (await codes(clients, RED), await codes(clients, BLUE, 1)) == ({"run_killed"}, {None})
        rows = (await clients.admin("/runs"))["rows"]
        assert isinstance(rows, list)
        assert {(row["run"], row["tenant"], row["state"]) for row in rows} == {
            ("r1", "team:red", "killed"),
            ("r1", "team:blue", "idle"),
        }
        assert fleet.stop() == 0
        fleet.start()
        await clients.ready()
        assert (await codes(clients, RED), await codes(clients, BLUE, 1)) == ({"run_killed"}, {None})

    play(fleet, scene)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_budget_of_each_run_is_one_teams_over_crashes_and_so_is_its_top_up(workers: int, tmp_path: Path) -> None:
    fleet = two_teams(tmp_path, workers)

    async def scene(clients: Clients) -> None:
        for key in (RED, RED_TOO):
            assert await codes(clients, key, STEPS // 2) == {None}
        assert await codes(clients, RED, 1) == {"budget_exceeded"}, "the keys of a team draw on one run"
        assert await codes(clients, BLUE, STEPS - 2) == {None}
        assert (await left(clients, "team:red"), await left(clients, "team:blue")) == (0, 2)
        assert (await clients.order("/runs/r1/topup?tenant=team:red", {"steps": 3}))[0] == 200
        assert (await left(clients, "team:red"), await left(clients, "team:blue")) == (3, 2)
        processes = [*fleet.workers(), fleet.supervisor]
        for pid in processes:
            fleet.kill(pid)
        fleet.start()
        await clients.ready()
        assert (await left(clients, "team:red"), await left(clients, "team:blue")) == (3, 2)
        assert await codes(clients, RED_TOO, 3) == await codes(clients, BLUE, 2) == {None}
        assert await codes(clients, RED, 2) == await codes(clients, BLUE, 2) == {"budget_exceeded"}

    play(fleet, scene)
