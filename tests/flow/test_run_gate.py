"""Runs at the gate of a pool, over sockets: who waits, who does not, and that a place is never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from policies.gate_line import Ask
from policies.run_gate import GateRules
from policies.tiers import TIERS
from proxy.execution.gate_desk import Pool
from proxy.runs.registry import RunCommand
from proxy.snapshot import AgentRules
from proxy.tenancy import run_id
from proxy.types import KeyRecord
from tests.flow.world import KEY, Peer, Response, World, plain
from tests.flow.world import head as request_head

BODY = b'{"model":"m","messages":[]}'
IDLE_S = 60.0


def pool(runs: float, waiting_max: int = 100, targets: Sequence[str] = ("up0/real",), name: str = "m") -> Pool:
    """Room for so many runs of the least charge."""
    rules = GateRules(share=1.0, idle_s=IDLE_S, waiting_max=waiting_max)
    return Pool(name, frozenset(targets), int(runs * 60_000), rules)


async def second(peer: Peer) -> None:
    await asyncio.sleep(1)
    await plain(peer)


def now() -> float:
    return asyncio.get_running_loop().time()


class Clients:
    def __init__(self, world: World) -> None:
        self.world = world
        self.began = now()
        self.at: dict[str, float] = {}  # when a run had its last answer

    async def ask(self, run: str, more: str = "", key: str = KEY) -> Response:
        reply = await self.world.request(BODY, headers=f"X-Headgate-Run: {run}\r\n{more}", key=key)
        self.at[run] = now() - self.began
        return reply

    def start(self, run: str, more: str = "") -> asyncio.Task[Response]:
        return asyncio.ensure_future(self.ask(run, more))  # noqa: TID251


def kill(run: str) -> RunCommand:
    return RunCommand("kill", run_id("key:key-1", run), "command", "operator", 1_700_000_000.0)


def decisions(world: World) -> list[str]:
    return [each.said for outcome in world.outcomes for each in outcome.decisions]


async def test_a_new_run_waits_until_one_that_was_let_in_is_idle_and_is_told_so() -> None:
    async with World(second, pools=(pool(1),)) as world:
        clients = Clients(world)
        assert (await clients.ask("first")).status == 200
        other = clients.start("other")
        assert (await clients.ask("first")).status == 200, "a run that was let in goes on"
        assert (await other).status == 200
        assert clients.at["other"] == pytest.approx(2 + IDLE_S + 1, abs=0.1), "once the first has been idle for long"
        assert decisions(world) == ["its run waited to begin for 61.0 s at the gate of 'm'"]
        assert max(each.duration_s - each.upstream_s for each in world.outcomes) < 0.1, "no wait is the gate's overhead"


async def test_runs_that_fit_do_not_wait_and_nothing_is_said() -> None:
    async with World(second, pools=(pool(3),)) as world:
        clients = Clients(world)
        await asyncio.gather(*[clients.ask(run) for run in "abc"])
        assert max(clients.at.values()) == pytest.approx(1, abs=0.1)
        assert decisions(world) == []
        assert [(row.active, row.in_use, row.limit) for row in world.gates.rows()] == [(3, 180_000, 180_000)]


async def test_a_child_of_a_run_that_was_let_in_does_not_wait_nor_do_its_own_children() -> None:
    """The parent may be waiting for it: held here, neither would ever go on."""
    async with World(second, pools=(pool(1),)) as world:
        clients = Clients(world)
        parent = clients.start("parent")
        await asyncio.sleep(0.1)
        children = [clients.start("child", "X-Headgate-Parent-Run: parent\r\n")]
        await asyncio.sleep(0.1)
        children.append(clients.start("grandchild", "X-Headgate-Parent-Run: child\r\n"))
        await asyncio.gather(parent, *children)
        assert max(clients.at.values()) == pytest.approx(1.2, abs=0.1)
        assert world.gates.rows()[0].active == 3, "they count all the same"


async def test_a_child_of_a_run_that_was_let_in_elsewhere_does_not_wait() -> None:
    """Two runs, each at work in one pool and waiting for a child that the other pool keeps out, would wait forever."""
    async with World(second, pools=(pool(1), pool(1, targets=("elsewhere/real",), name="n"))) as world:
        clients = Clients(world)
        given = await world.gates.enter("n", Ask(run_id("key:key-1", "parent"), "a", TIERS["standard"], 10), left_s=10)
        await clients.ask("other")
        await clients.ask("child", "X-Headgate-Parent-Run: parent\r\n")
        assert clients.at["child"] == pytest.approx(2, abs=0.1)
        world.gates.ended(given.number, input_tokens=0, cached_tokens=None)


async def test_a_run_that_was_let_in_elsewhere_does_not_wait() -> None:
    """Two runs, each let in at one gate and kept out at the other, would wait for each other."""
    async with World(second, pools=(pool(1), pool(1, targets=("elsewhere/real",), name="n"))) as world:
        clients = Clients(world)
        given = await world.gates.enter("n", Ask(run_id("key:key-1", "two"), "a", TIERS["standard"], 10), left_s=10)
        await clients.ask("other")
        await clients.ask("two")
        assert clients.at["two"] == pytest.approx(2, abs=0.1)
        world.gates.ended(given.number, input_tokens=0, cached_tokens=None)


@pytest.mark.parametrize(("run", "more"), [("first", ""), ("mine", "X-Headgate-Parent-Run: first\r\n")])
@pytest.mark.parametrize("team", [None, "another"])
async def test_another_tenants_run_does_not_pass_by_the_name_of_one_that_was_let_in(
    run: str, more: str, team: str | None
) -> None:
    async with World(second, pools=(pool(1),)) as world:
        clients = Clients(world)
        world.keys.records["another-key"] = KeyRecord("key-2", team=team)
        await clients.ask("first")
        await clients.ask(run, more, key="another-key")
        assert clients.at[run] == pytest.approx(1 + IDLE_S + 1, abs=0.1)


async def test_critical_calls_do_not_wait() -> None:
    async with World(second, rules=AgentRules(priority="critical"), pools=(pool(1),)) as world:
        clients = Clients(world)
        await asyncio.gather(*[clients.ask(run) for run in "ab"])
        assert max(clients.at.values()) == pytest.approx(1, abs=0.1)


async def test_calls_without_a_run_are_one_run_of_their_key() -> None:
    async with World(second, pools=(pool(1),)) as world:
        began = now()
        replies = await asyncio.gather(*[world.request(BODY) for _ in range(5)])
        assert [reply.status for reply in replies] == [200] * 5
        assert now() - began == pytest.approx(1, abs=0.1)


async def test_all_calls_of_a_run_that_waits_go_on_together() -> None:
    async with World(second, pools=(pool(1),)) as world:
        clients = Clients(world)
        await clients.ask("first")
        await asyncio.gather(*[clients.ask("wide") for _ in range(3)])
        assert clients.at["wide"] == pytest.approx(1 + IDLE_S + 1, abs=0.1)


async def test_a_client_that_leaves_the_line_frees_its_place() -> None:
    async with World(second, pools=(pool(1, waiting_max=1),)) as world:
        clients = Clients(world)
        await clients.ask("first")
        _, writer = await world.connect()
        told = "X-Headgate-Run: gone\r\n"
        writer.write(request_head(BODY, path="/v1/chat/completions", headers=told, key=KEY) + BODY)
        await asyncio.sleep(1)
        assert world.gates.rows()[0].waiting == 1
        full = await clients.ask("late")
        assert (full.status, full.error["code"]) == (429, "run_gate_full")
        assert full.headers["retry-after"] == "1"
        writer.close()
        await asyncio.sleep(1)
        assert world.gates.rows()[0].waiting == 0
        assert (await clients.ask("late")).status == 200, "there is room in the line again, and in the end its turn"
        assert world.outcomes[1].status == 429
        assert [outcome.client_gone for outcome in world.outcomes] == [False, False, True, False]


async def test_a_call_whose_time_is_up_is_told_that_it_waited_at_the_gate() -> None:
    async with World(second, rules=AgentRules(deadline_s=20.0), pools=(pool(1),)) as world:
        clients = Clients(world)
        await clients.ask("first")
        late = await clients.ask("late")
        assert (late.status, late.error["code"]) == (503, "run_gate_timeout")
        assert "1 runs are active in the pool 'm', 60000 of 60000 tokens" in str(late.error["message"])
        assert late.headers["x-should-retry"] == "false"
        assert int(late.headers["retry-after"]) >= 1
        assert clients.at["late"] == pytest.approx(1 + 20 - 0.1, abs=0.1), "just before its deadline"
        assert len(world.upstreams[0].requests) == 1, "it was never sent"
        assert decisions(world)[0].startswith("not let in: ")


async def test_a_run_that_is_killed_while_it_waits_is_told_at_once_and_leaves() -> None:
    async with World(second, pools=(pool(1),)) as world:
        clients = Clients(world)
        await clients.ask("first")
        waits = clients.start("doomed")
        await asyncio.sleep(1)
        await world.runs.apply(kill("doomed"))
        killed = await waits
        assert (killed.status, killed.error["code"]) == (403, "run_killed")
        assert clients.at["doomed"] == pytest.approx(2, abs=0.1)
        assert world.gates.rows()[0].waiting == 0


async def test_a_run_that_is_killed_at_work_makes_room_at_once() -> None:
    async with World(second, pools=(pool(1),)) as world:
        clients = Clients(world)
        first = clients.start("first")
        await asyncio.sleep(0.2)
        other = clients.start("other")
        await asyncio.sleep(0.2)
        await world.runs.apply(kill("first"))
        assert ((await first).status, (await other).status) == (403, 200)
        assert clients.at["other"] == pytest.approx(1.4, abs=0.1)


async def test_a_run_that_is_killed_between_two_calls_makes_room_at_once_and_so_do_those_below_it() -> None:
    async with World(second, pools=(pool(2),)) as world:
        clients = Clients(world)
        await clients.ask("first")
        await clients.ask("child", "X-Headgate-Parent-Run: first\r\n")
        others = [clients.start("other"), clients.start("another")]
        await asyncio.sleep(1)
        await world.runs.apply(kill("first"))
        world.runs.applied(kill("first"))
        assert [(await other).status for other in others] == [200, 200]
        assert clients.at["other"] == clients.at["another"] == pytest.approx(4, abs=0.1)


async def test_a_gate_that_is_taken_away_lets_all_go_on() -> None:
    async with World(second, pools=(pool(1),)) as world:
        clients = Clients(world)
        await clients.ask("first")
        waits = clients.start("other")
        await asyncio.sleep(1)
        world.gates.use(())
        world.gating.use(())
        assert (await waits).status == 200
        assert clients.at["other"] == pytest.approx(3, abs=0.1)
