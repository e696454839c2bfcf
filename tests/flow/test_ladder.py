"""The ladder over sockets: an agent that nears its budget is degraded, told so, made to wait, at last refused."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import structs

from policies.cache_rules import CacheRules
from policies.limits import Instant, Limit, LimitsByName
from policies.plan import Planner, Route, Routes
from proxy.clock import SystemClock, loop_time
from proxy.snapshot import AgentRules, Limits
from proxy.types import Price
from tests.build import PRICE
from tests.flow.world import Peer, Response, World

DAY = 86_400.0
MIDNIGHT = 20_000 * DAY
DEAR = structs.replace(PRICE, output=4_000_000, reasoning=4_000_000, output_audio=4_000_000)
TEN = Limit("usd", 10_000_000, "day")
BODY = b'{"model":"m","messages":[],"max_tokens":600}'
LADDER = AgentRules(on_budget=("cheaper", "shorter", "stop"))


def limited(*limits: Limit) -> LimitsByName:
    return LimitsByName({"key:key-1": limits})


class Evening(SystemClock):
    """The wall clock shows half a minute to midnight when the loop begins."""

    def __init__(self) -> None:
        super().__init__(1, now=loop_time)
        self._began = loop_time()

    def wall(self) -> float:
        return MIDNIGHT - 30 + loop_time() - self._began


async def talkative(peer: Peer) -> None:
    """Writes as much as it may, but 490 tokens at most: 1,000,000 nano-dollars at the price of the tests."""
    allowed = peer.json["max_tokens"]
    assert isinstance(allowed, int)
    output = min(490, allowed)
    usage = {"prompt_tokens": 20, "completion_tokens": output, "total_tokens": 20 + output}
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    await peer.reply(msgspec.json.encode({"id": "c", "choices": [choice], "usage": usage}))


def with_prices(world: World, *prices: Price, cheaper: str | None = None) -> None:
    """The upstreams as equal targets of `m`, each with its price; the last one is also the model `small`."""
    (route,) = [world.snapshot.planner.routes.find("m")]
    assert route is not None
    targets = tuple(
        structs.replace(target, price=price, weight=1.0) for target, price in zip(route.targets, prices, strict=True)
    )
    main = Route("m", targets[:1] if cheaper else targets, cheaper=cheaper, balance="weighted")
    routes = Routes((main, Route("small", targets[-1:])))
    world.snapshot = structs.replace(world.snapshot, planner=Planner(routes))


def told(reply: Response) -> str:
    return reply.headers.get("x-headgate-degraded", "")


async def test_an_agent_that_spends_towards_its_limit_is_degraded_and_told_and_refused_at_the_end() -> None:
    async with World(talkative, rules=LADDER, limits_of=limited(TEN)) as world:
        replies = [await world.request(BODY) for _ in range(16)]
        assert [reply.status for reply in replies[:11]] == [200] * 11
        assert [told(reply) for reply in replies[:10]] == [""] * 8 + ["shorter"] * 2
        assert [reply.headers.get("x-headgate-budget-used") for reply in replies[7:9]] == [
            None,
            "0.80 key:key-1 usd/day",
        ]
        assert replies[8].headers["x-headgate-output-clamped"] == "300"
        last = replies[-1]
        assert (last.status, last.error["code"]) == (429, "budget_exceeded")
        assert last.headers["x-headgate-budget-used"].startswith("0.9")
        (usd,) = world.store.standing("key:key-1")
        assert usd.totals.spent + usd.totals.overrun <= TEN.amount
        plans = [outcome.plan for outcome in world.outcomes if outcome.plan is not None]
        assert "shorter, as the budget of key:key-1 in usd per day is used to 80 %" in plans[8].reason


async def test_near_the_end_only_the_cheapest_target_is_asked() -> None:
    async with World(talkative, talkative, rules=LADDER, limits_of=limited(TEN)) as world:
        with_prices(world, DEAR, PRICE)
        early = [await world.request(BODY) for _ in range(4)]
        assert {reply.headers["x-headgate-target"] for reply in early} == {"up0/real", "up1/real"}
        while not told(reply := await world.request(BODY)):
            assert reply.status == 200
        late = [reply, await world.request(BODY), await world.request(BODY)]
        assert {reply.headers["x-headgate-target"] for reply in late} == {"up1/real"}
        assert all("cheaper" in told(reply) for reply in late)


async def test_near_the_end_another_model_answers_where_the_operator_named_one() -> None:
    async with World(talkative, talkative, rules=LADDER, limits_of=limited(TEN)) as world:
        with_prices(world, PRICE, PRICE, cheaper="small")
        replies = [await world.request(BODY) for _ in range(8)]
        assert [reply.headers["x-headgate-target"] for reply in replies] == ["up0/real"] * 7 + ["up1/real"]
        assert (told(replies[7]), replies[7].headers["x-headgate-model"]) == ("cheaper", "m")


async def test_midnight_ends_the_ladder() -> None:
    async with World(talkative, rules=LADDER, limits_of=limited(TEN), clock=Evening()) as world:
        replies = [await world.request(BODY) for _ in range(9)]
        assert told(replies[-1]) == "shorter"
        await asyncio.sleep(31)
        fresh = await world.request(BODY)
        assert (told(fresh), fresh.headers.get("x-headgate-budget-used")) == ("", None)
        (usd,) = world.store.standing("key:key-1")
        assert usd.totals.spent == 1_000_000


async def test_a_queued_call_goes_on_when_the_window_resets_and_in_its_order() -> None:
    rules = AgentRules(on_budget=("queue",))
    async with World(talkative, rules=rules, limits_of=limited(TEN), clock=Evening()) as world:
        spent = [await world.request(BODY) for _ in range(10)]
        assert [reply.status for reply in spent] == [200] * 10
        began = loop_time()
        replies = await asyncio.gather(*[world.request(BODY) for _ in range(3)])
        assert [reply.status for reply in replies] == [200] * 3
        assert 29 < loop_time() - began < 32
        arrived = [outcome.call.arrived_at for outcome in world.outcomes[10:]]
        assert arrived == sorted(arrived)


async def test_a_queued_call_is_refused_when_its_deadline_comes_first() -> None:
    rules = AgentRules(on_budget=("queue",), deadline_s=5.0)
    async with World(talkative, rules=rules, limits_of=limited(TEN)) as world:
        for _ in range(10):
            await world.request(BODY)
        began = loop_time()
        refused = await world.request(BODY)
        assert (refused.status, refused.error["code"]) == (429, "budget_exceeded")
        limits = refused.error["limits"]
        assert isinstance(limits, list)
        assert [limit["reason"] for limit in limits] == ["queue"]
        assert 4.5 < loop_time() - began < 5.0


async def test_the_queue_is_bounded() -> None:
    rules = AgentRules(on_budget=("queue",), deadline_s=5.0)
    async with World(talkative, rules=rules, limits=Limits(eased_max=0), limits_of=limited(TEN)) as world:
        replies = [await world.request(BODY) for _ in range(11)]
        assert replies[-1].status == 429
        assert loop_time() < 1_000 + 5


async def test_a_topup_lets_a_queued_call_go_and_ends_the_ladder() -> None:
    rules = AgentRules(on_budget=("shorter", "queue"))
    async with World(talkative, rules=rules, limits_of=limited(Limit("usd", 10_000_000))) as world:
        while world.store.pressure(("key:key-1",)).felt < 950:
            assert (await world.request(BODY)).status == 200
        waiting = asyncio.ensure_future(world.request(BODY))  # noqa: TID251
        await asyncio.sleep(60)
        assert not waiting.done()
        assert world.store.top_up("t", "key:key-1", unit="usd", amount=10_000_000)
        reply = await waiting
        assert (reply.status, told(reply)) == (200, "")


async def test_near_the_end_known_answers_are_given_and_everything_else_is_refused() -> None:
    rules = AgentRules(on_budget=("cache_only",), cache=CacheRules(exact="on"))
    async with World(talkative, rules=rules, limits_of=limited(TEN)) as world:
        asked = [b'{"model":"m","messages":[],"max_tokens":600,"seed":%d}' % seed for seed in range(12)]
        replies = [await world.request(body) for body in asked]
        assert [reply.status for reply in replies] == [200] * 9 + [429] * 3
        last = replies[-1]
        assert last.error["code"] == "budget_exceeded"
        assert "known already" in str(last.error["message"])
        limits = last.error["limits"]
        assert isinstance(limits, list)
        assert [limit["reason"] for limit in limits] == ["cache_only"]
        again = await world.request(asked[0])
        assert (again.status, again.headers["x-headgate-cache"]) == (200, "hit")
        assert len(world.upstreams[0].requests) == 9
        (usd,) = world.store.standing("key:key-1")
        assert (usd.totals.spent, usd.held) == (9_000_000, 0)


async def test_a_days_money_spent_too_fast_holds_batch_work_back_until_the_calendar_has_caught_up() -> None:
    async with World(talkative, limits_of=limited(Limit("usd", 10_000_000, "hour"))) as world:
        for _ in range(2):
            await world.request(BODY)
        batch, began = "X-Headgate-Priority: batch\r\n", loop_time()
        await world.request(BODY, headers=batch)
        assert loop_time() - began < 1, "the pace is not at its highest yet"
        for _ in range(10):  # half a minute each, in the gate
            world.store.accounts.pace("key:key-1", at=Instant(world.clock.now(), MIDNIGHT))
        began = loop_time()
        standard = await world.request(BODY)
        assert (standard.status, loop_time() - began < 1) == (200, True)
        waiting = asyncio.ensure_future(world.request(BODY, headers=batch))  # noqa: TID251
        await asyncio.sleep(60)
        assert not waiting.done()
        world.store.accounts.pace("key:key-1", at=Instant(world.clock.now(), MIDNIGHT + 3_599))
        reply = await waiting
        assert reply.status == 200
        assert 60 <= loop_time() - began < 61
        assert "held back for" in world.outcomes[-1].decisions[0].said
