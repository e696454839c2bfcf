from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest

from proxy.clock import SystemClock, loop_time
from proxy.demo.agents import Run, Step
from proxy.demo.client import Client, Failed, Reply
from proxy.demo.fleet import Fleet


def now() -> float:
    return asyncio.get_running_loop().time()


class Scripted(Client):
    """Answers after a second; `broken` names the runs whose calls fail."""

    def __init__(self, *broken: str) -> None:
        self.bodies: list[dict[str, list[dict[str, str]]]] = []
        self.headers: list[Mapping[str, str]] = []
        self._broken = broken

    async def ask(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        self.bodies.append(json.loads(body))
        self.headers.append(headers)
        await asyncio.sleep(1.0)
        if headers["X-Headgate-Run"] in self._broken:
            raise Failed
        return Reply(f"answer {len(self.bodies)}", 0.5)


def run(id: str, *, steps: int = 2, children: tuple[Run, ...] = (), parent: str | None = None) -> Run:
    said = [Step(f"{id} step {number}", 1.0, children if number == 1 else ()) for number in range(1, steps + 1)]
    return Run(id, "planner", "sim-small", 0.0, "system", tuple(said), parent)


def fleet(client: Client) -> tuple[Fleet, asyncio.Event]:
    stopping = asyncio.Event()
    return Fleet({"planner": client}, clock=SystemClock(1, now=loop_time), stopping=stopping), stopping


async def test_a_conversation_grows_by_what_was_answered() -> None:
    client = Scripted()
    made, _ = fleet(client)
    await made.work((run("a"),), now())
    first, second = ([message["content"] for message in body["messages"]] for body in client.bodies)
    assert first == ["system", "a step 1"]
    assert second == ["system", "a step 1", "answer 1", "a step 2"]
    assert [headers["X-Headgate-Step"] for headers in client.headers] == ["1", "2"]
    assert made.tally.endings == {"a": "completed"}
    assert (made.tally.calls, made.tally.failed, made.tally.in_flight) == (2, 0, 0)


async def test_a_tally_knows_when_calls_began_and_when_runs_ended() -> None:
    made, _ = fleet(Scripted("b"))
    began_at = now()
    await made.work((run("a"), run("b")), began_at)
    assert [heard.began_at - began_at for heard in made.tally.heard] == pytest.approx([0.0, 2.0, 4.0])
    assert [heard.reply is None for heard in made.tally.heard] == [False, False, True]
    assert made.tally.endings == {"a": "completed", "b": "failed"}
    assert [end.at - began_at for end in made.tally.ends.values()] == pytest.approx([4.0, 5.0])


async def test_sub_agents_work_side_by_side_and_name_their_parent() -> None:
    client = Scripted()
    made, _ = fleet(client)
    children = (run("a.1", steps=1, parent="a"), run("a.2", steps=1, parent="a"))
    began_at = now()
    await made.work((run("a", children=children),), began_at)
    assert made.tally.completed == {"a", "a.1", "a.2"}
    assert now() - began_at == pytest.approx(2 * (1 + 1) + (1 + 1))
    assert [headers.get("X-Headgate-Parent-Run") for headers in client.headers] == [None, "a", "a", None]


async def test_a_call_without_an_answer_fails_its_run_and_the_agent_goes_on() -> None:
    made, _ = fleet(Scripted("a"))
    await made.work((run("a"), run("b")), now())
    assert made.tally.endings == {"a": "failed", "b": "completed"}
    assert (made.tally.calls, made.tally.failed, len(made.tally.first_tokens_s)) == (3, 1, 2)


async def test_a_run_that_fails_takes_the_sub_agents_it_never_began_with_it() -> None:
    made, _ = fleet(Scripted("a"))
    await made.work((run("a", children=(run("a.1"), run("a.2"))),), now())
    assert made.tally.endings == {"a": "failed", "a.1": "failed", "a.2": "failed"}


async def test_a_run_cannot_do_without_its_sub_agents() -> None:
    made, _ = fleet(Scripted("a.2"))
    await made.work((run("a", children=(run("a.1"), run("a.2"))),), now())
    assert made.tally.endings == {"a": "failed", "a.1": "completed", "a.2": "failed"}


async def test_when_it_is_stopped_calls_end_and_no_other_begins() -> None:
    client = Scripted()
    made, stopping = fleet(client)
    asyncio.get_running_loop().call_later(0.5, stopping.set)
    began_at = now()
    await made.work((run("a"), run("b")), began_at)
    assert now() - began_at == pytest.approx(1.0)
    assert (made.tally.calls, made.tally.in_flight, made.tally.endings) == (1, 0, {})


async def test_a_stop_reaches_sub_agents_that_were_about_to_begin() -> None:
    client = Scripted()
    made, stopping = fleet(client)
    asyncio.get_running_loop().call_later(0.5, stopping.set)
    await made.work((run("a", children=(run("a.1"), run("a.2"))),), now())
    assert [headers["X-Headgate-Run"] for headers in client.headers] == ["a"]
    assert made.tally.endings == {}


async def test_runs_begin_at_their_time_even_when_an_agent_was_quick() -> None:
    client = Scripted()
    made, _ = fleet(client)
    late = Run("late", "planner", "sim-small", 30.0, "system", (Step("x", 0.0),))
    began_at = now()
    await made.work((late,), began_at)
    assert now() - began_at == pytest.approx(31.0)


async def test_calls_a_second_are_of_the_last_seconds() -> None:
    made, _ = fleet(Scripted())
    for at in range(20):
        made.tally.began()
        made.tally.ended(float(at))
    assert made.tally.calls_a_second(19.5, 0.0) == 1.0
    assert made.tally.calls_a_second(60.0, 0.0) == 0.0
