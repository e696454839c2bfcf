"""Fair share over sockets: a flood of one agent costs others nothing but their turn; urgent calls go first."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from msgspec import structs

from policies.provider_limits import TargetRules
from policies.rate_limit import Rates
from proxy.execution.line import Queueing
from proxy.snapshot import AgentRules
from proxy.types import Priority
from tests.build import PRICE
from tests.flow.world import Peer, Response, World, plain

BODY = b'{"model":"m","messages":[],"max_tokens":100}'
OPEN_ENDED = b'{"model":"m","messages":[]}'
TWO = TargetRules(targets={"up0/real": Rates(concurrency=2)})
PATIENT = Queueing(wait_s=1_000)


def now() -> float:
    return asyncio.get_running_loop().time()


async def second(peer: Peer) -> None:
    await asyncio.sleep(1)
    await plain(peer)


class Team:
    """Agents of one gate, and when their calls were answered."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.began = now()
        self.replies: list[tuple[str, int, float]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def send(self, agent: str, calls: int, headers: str = "", body: bytes = BODY) -> None:
        for _ in range(calls):
            self.tasks.append(asyncio.ensure_future(self._ask(agent, headers, body)))  # noqa: TID251

    async def _ask(self, agent: str, headers: str, body: bytes) -> None:
        reply = await self.world.request(body, headers=f"X-Headgate-Agent: {agent}\r\n{headers}")
        self.replies.append((agent, reply.status, now() - self.began))
        self.last: Response = reply

    async def done(self) -> None:
        await asyncio.gather(*self.tasks)

    def times(self, agent: str) -> list[float]:
        return [at for name, status, at in self.replies if name == agent and status == 200]


async def test_an_agent_with_few_calls_gets_its_share_at_once_while_another_floods() -> None:
    async with World(second, target_rates=TWO, queueing=PATIENT) as world:
        team = Team(world)
        team.send("flood", 40)
        await asyncio.sleep(0.5)
        team.send("calm", 4)
        await team.done()
        calm, flood = team.times("calm"), team.times("flood")
        assert calm == pytest.approx([2, 3, 4, 5], abs=0.2), "one of the two places, from the first that came free"
        assert len(flood) == 40
        assert max(flood) == pytest.approx(22, abs=0.3), "44 calls of a second, two at a time: no place stood idle"


async def test_what_a_flood_was_only_expected_to_take_keeps_nobody_from_his_turn() -> None:
    """Its first calls pass an empty line at ten times what they will take; who comes now is not lifted to that."""

    async def slow(peer: Peer) -> None:
        await asyncio.sleep(2)
        await plain(peer)

    dear = structs.replace(PRICE, output=10 * PRICE.input_uncached)
    async with World(slow, price=dear, target_rates=TWO) as world:
        team = Team(world)
        flood = [asyncio.ensure_future(_again_and_again(world, team)) for _ in range(40)]  # noqa: TID251
        await asyncio.sleep(1)
        team.send("calm", 4, body=OPEN_ENDED)
        await team.done()
        assert team.times("calm") == pytest.approx([4, 6, 8, 10], abs=0.2), "one of two places, from its first"
        for sender in flood:
            sender.cancel()
        await asyncio.gather(*flood, return_exceptions=True)


async def _again_and_again(world: World, team: Team) -> None:
    while len(team.replies) < 4:
        await world.request(OPEN_ENDED, headers="X-Headgate-Agent: flood\r\n")
        await asyncio.sleep(0.02)


async def test_what_calls_take_counts_and_not_how_many_there_are() -> None:
    """`small` asks ten times for what costs a tenth of a call of `large`."""
    tokens = {"small": 2_000, "large": 20_000}

    async def of_size(peer: Peer) -> None:
        await asyncio.sleep(1)
        size = tokens["large" if b"long" in peer.body else "small"]
        usage = b'"usage":{"prompt_tokens":%d,"completion_tokens":5,"total_tokens":%d}' % (size, size + 5)
        await peer.reply(
            b'{"id":"c1","object":"chat.completion","model":"real","choices":[{"index":0,"message":{"role":"assistant",'
            b'"content":"hi"},"finish_reason":"stop"}],' + usage + b"}"
        )

    one = TargetRules(targets={"up0/real": Rates(concurrency=1)})
    async with World(of_size, target_rates=one, queueing=PATIENT) as world:
        ended: list[str] = []

        async def ask(agent: str) -> None:
            word = b"long" if agent == "large" else b"short"
            body = b'{"model":"m","messages":[],"max_tokens":5,"user":"%b"}' % word
            assert (await world.request(body, headers=f"X-Headgate-Agent: {agent}\r\n")).status == 200
            ended.append(agent)

        await asyncio.gather(*[ask(agent) for agent in ["large"] * 20 + ["small"] * 60])
        until = Counter(ended[: len(ended) - ended[::-1].index("small")])
        taken = {agent: tokens[agent] * calls for agent, calls in until.items()}
        assert until["small"] == 60
        assert 4 <= until["large"] <= 8, taken


async def test_urgent_calls_go_first_and_batch_calls_are_not_forgotten() -> None:
    async with World(second, target_rates=TWO, queueing=PATIENT) as world:
        ranks: dict[str, Priority] = {"night": "batch", "user": "interactive", "alarm": "critical"}
        for agent, priority in ranks.items():
            world.agents[agent] = AgentRules(priority=priority)
        team = Team(world)
        team.send("other", 2)
        await asyncio.sleep(0.2)
        team.send("night", 2)
        await asyncio.sleep(0.2)
        team.send("user", 40)
        await asyncio.sleep(0.2)
        team.send("alarm", 2)
        await team.done()
        assert max(team.times("alarm")) == pytest.approx(2, abs=0.2)
        assert max(team.times("night")) < max(team.times("user")), "passed over for long, and then served"
        assert min(team.times("night")) > 8


@pytest.mark.parametrize(
    ("headers", "served_at"), [("X-Headgate-Priority: batch\r\n", 4), ("X-Headgate-Priority: critical\r\n", 3)]
)
async def test_a_request_may_lower_its_priority_and_not_raise_it(headers: str, served_at: float) -> None:
    one = TargetRules(targets={"up0/real": Rates(concurrency=1)})
    async with World(second, target_rates=one, queueing=PATIENT) as world:
        team = Team(world)
        team.send("other", 1)
        await asyncio.sleep(0.2)
        team.send("other", 1)
        await asyncio.sleep(0.2)
        team.send("asked", 1, headers)
        await asyncio.sleep(0.2)
        team.send("third", 1)
        await team.done()
        assert team.times("asked") == pytest.approx([served_at], abs=0.2)


async def test_a_full_line_turns_the_flood_away_and_says_when_it_will_have_gone() -> None:
    async with World(second, target_rates=TWO, queueing=Queueing(wait_s=100, calls_max=10)) as world:
        team = Team(world)
        team.send("flood", 30)
        await asyncio.sleep(0.5)
        team.send("calm", 2)
        await team.done()
        assert len(team.times("calm")) == 2
        away = [(agent, status) for agent, status, _ in team.replies if status != 200]
        assert away == [("flood", 503)] * 20
        assert len(team.times("flood")) == 10


async def test_a_call_that_is_turned_away_hears_when_to_come_back_and_not_to_ask_again_at_once() -> None:
    async with World(second, target_rates=TWO, queueing=Queueing(wait_s=100, calls_max=8)) as world:
        team = Team(world)
        team.send("a", 2)
        await team.done()
        team.send("a", 10)
        await asyncio.sleep(0.5)
        refused = await world.request(BODY, headers="X-Headgate-Agent: a\r\n")
        assert (refused.status, refused.error["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "4", "8 calls of a second, two at a time"
        assert refused.headers["x-should-retry"] == "false", "an SDK's own retries are what keeps an overload alive"
        await team.done()
