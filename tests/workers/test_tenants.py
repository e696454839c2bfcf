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


async def room(clients: Clients, tenant: str) -> tuple[int, int]:
    """Limit and spent; what is left also depends on what workers were lent."""
    (limit,) = (await clients.admin(f"/runs/r1?tenant={tenant}"))["budget"]  # type: ignore[misc]  # one limit
    return limit["limit"], limit["spent"]


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
        assert (await room(clients, "team:red"), await room(clients, "team:blue")) == (
            (STEPS, STEPS),
            (STEPS, STEPS - 2),
        )
        assert (await clients.order("/runs/r1/topup?tenant=team:red", {"steps": 3}))[0] == 200
        topped_up = ((STEPS + 3, STEPS), (STEPS, STEPS - 2))
        assert (await room(clients, "team:red"), await room(clients, "team:blue")) == topped_up
        processes = [*fleet.workers(), fleet.supervisor]
        for pid in processes:
            fleet.kill(pid)
        fleet.start()
        await clients.ready()
        assert (await room(clients, "team:red"), await room(clients, "team:blue")) == topped_up
        assert await codes(clients, RED_TOO, 3) == await codes(clients, BLUE, 2) == {None}
        assert await codes(clients, RED, 2) == await codes(clients, BLUE, 2) == {"budget_exceeded"}

    play(fleet, scene)


def circling(times: int) -> list[object]:
    """A conversation in which the same tool was asked the same so often."""
    said: list[object] = [{"role": "user", "content": "book a trip"}]
    for number in range(times):
        used = {"id": f"c{number}", "type": "function", "function": {"name": "search", "arguments": "{}"}}
        said += [
            {"role": "assistant", "content": None, "tool_calls": [used]},
            {"role": "tool", "tool_call_id": f"c{number}", "content": "none"},
        ]
    return said


@pytest.mark.parametrize("workers", [1, 2])
def test_neither_one_teams_circles_nor_its_fan_out_stand_in_anothers_way(workers: int, tmp_path: Path) -> None:
    agent = {"run": {"width": 1}, "loops": {"mode": "on"}, "retry": {"attempts": 1}}
    fleet = Fleet(tmp_path, workers=workers, keys=KEYS, agents={"a": agent})

    async def scene(clients: Clients) -> None:
        for _ in range(4):
            red = await clients.call(key=RED, messages=circling(5))
            blue = await clients.call(key=BLUE, messages=circling(1))
            assert red is not None and blue is not None
            assert (red.code, blue.code) == ("loop_detected", None)
        wide, alone = await asyncio.gather(codes(clients, RED, 40), codes(clients, BLUE, 1))
        assert wide == {"run_width_exceeded", None}
        assert alone == {None}

    play(fleet, scene)
