"""An operator's word on a run, over sockets: what its clients are told, what is billed, and how soon."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from policies.limits import Limit, LimitsByName
from policies.retry import Retry
from policies.runs import RunLimits
from proxy.runs.registry import Applied, Kind, RunCommand
from proxy.snapshot import AgentRules
from proxy.types import AbortRule
from tests.flow.world import DONE, FINISH, REPLY, ROLE, USAGE, Peer, Response, World, plain, token

STREAM = b'{"model":"m","messages":[],"stream":true,"max_tokens":1000}'
PLAIN = b'{"model":"m","messages":[],"max_tokens":1000}'
TENANT = "key:key-1"  # the world's
COST = 10 * 1_000 + 5 * 2_000  # what USAGE and REPLY report


def of(run: str, parent: str | None = None) -> str:
    return f"X-Headgate-Run: {run}\r\n" + (f"X-Headgate-Parent-Run: {parent}\r\n" if parent else "")


def order(kind: Kind, run: str, *, cancel: bool = False) -> RunCommand:
    return RunCommand(kind, f"{TENANT}/{run}", id=f"{kind}-{run}", by="test", at_wall=0.0, cancel=cancel)


def start(world: World, body: bytes, headers: str) -> asyncio.Task[Response]:
    return asyncio.ensure_future(world.request(body, headers=headers))  # noqa: TID251


async def endless(peer: Peer) -> None:
    await peer.stream_head()
    await peer.chunk(ROLE)
    for number in range(600):
        await peer.chunk(token(f"word{number} "))
        await asyncio.sleep(0.5)


async def lasting(peer: Peer) -> None:
    """A whole stream, in ten seconds."""
    await peer.stream_head()
    await peer.chunk(ROLE)
    await peer.chunk(token("a"))
    await asyncio.sleep(10)
    for event in (FINISH, USAGE, DONE):
        await peer.chunk(event)
    await peer.end()


async def never(peer: Peer) -> None:
    await asyncio.sleep(300)


def last_error(response: Response) -> object:
    """The code of the error event that a stream ended with."""
    assert not response.complete
    assert b"[DONE]" not in response.body
    event = response.body.rstrip().rpartition(b"data: ")[2]
    return msgspec.json.decode(event)["error"]["code"]


async def test_a_kill_ends_the_calls_of_a_run_and_of_its_children_within_a_second() -> None:
    async with World(endless) as world:
        calls = [start(world, STREAM, of("top")) for _ in range(2)] + [start(world, STREAM, of("low", "top"))]
        other = start(world, STREAM, of("other"))
        await asyncio.sleep(5)
        before = world.clock.now()
        applied = await world.runs.apply(order("kill", "top"))
        responses = await asyncio.gather(*calls)
        assert world.clock.now() - before <= 1.0
        assert [last_error(response) for response in responses] == ["run_killed"] * 3
        assert len(world.outcomes) == 3
        assert {outcome.error_code for outcome in world.outcomes} == {"run_killed"}
        assert [attempt.error_code for outcome in world.outcomes for attempt in outcome.attempts] == ["run_killed"] * 3
        costs = [outcome.cost_usd_nanos or 0 for outcome in world.outcomes]
        assert all(cost > 0 for cost in costs)
        assert applied == Applied(interrupted=3, draining=0, cost_usd_nanos=sum(costs))
        assert world.store.live == 1  # the other run's
        assert not other.done()
        other.cancel()


async def test_what_was_killed_stays_so_and_new_calls_cost_nothing() -> None:
    async with World(plain) as world:
        await world.request(headers=of("top"))
        await world.runs.apply(order("kill", "top"))
        for headers in (of("top"), of("low", "top")):
            refused = await world.request(headers=headers)
            assert (refused.status, refused.error["code"], refused.error["run"]) == (403, "run_killed", "top")
            assert refused.headers["x-should-retry"] == "false"
        assert (await world.request(headers=of("other"))).status == 200
        assert len(world.upstreams[0].requests) == 2


async def test_a_grandchild_is_stopped_though_it_never_named_the_top() -> None:
    async with World(endless) as world:
        await_all = [start(world, STREAM, of("middle", "top")), start(world, STREAM, of("low", "middle"))]
        await asyncio.sleep(2)
        assert (await world.runs.apply(order("kill", "top"))).interrupted == 2
        assert [last_error(response) for response in await asyncio.gather(*await_all)] == ["run_killed"] * 2


@pytest.mark.parametrize("script", [never, endless], ids=["before the first byte", "in a reply that is folded"])
async def test_a_client_that_has_no_byte_yet_gets_a_status(script: object) -> None:
    async with World(script) as world:  # type: ignore[arg-type]
        call = start(world, PLAIN, of("top"))
        await asyncio.sleep(3)
        await world.runs.apply(order("kill", "top"))
        response = await call
        assert (response.status, response.error["code"]) == (403, "run_killed")
        assert world.outcomes[0].status == 403


async def test_a_call_between_two_attempts_is_stopped_and_makes_no_other() -> None:
    async def busy(peer: Peer) -> None:
        await peer.reply(b'{"error":{"message":"busy"}}', status="503 Busy", headers="Retry-After: 20\r\n")

    async with World(busy, retry=Retry(attempts=5)) as world:
        call = start(world, PLAIN, of("top"))
        await asyncio.sleep(2)
        assert (await world.runs.apply(order("kill", "top"))).interrupted == 1
        assert (await call).error["code"] == "run_killed"
        assert len(world.upstreams[0].requests) == 1


RULES: list[tuple[AbortRule, int]] = [("stops", 0), ("unknown", 0), ("continues", 1)]


@pytest.mark.parametrize(("abort", "draining"), RULES)
async def test_a_call_that_was_cut_is_billed_by_its_providers_rule(abort: AbortRule, draining: int) -> None:
    async with World(lasting, abort=abort) as world:
        call = start(world, STREAM, of("top"))
        await asyncio.sleep(2)
        applied = await world.runs.apply(order("kill", "top"))
        assert last_error(await call) == "run_killed"
        assert (applied.interrupted, applied.draining) == (1, draining)
        await asyncio.sleep(30)
        (outcome,) = world.outcomes
        (attempt,) = outcome.attempts
        assert attempt.cost_usd_nanos is not None
        if abort == "continues":
            assert (applied.cost_usd_nanos, attempt.cost_usd_nanos) == (0, COST)
        elif abort == "unknown":
            assert applied.cost_usd_nanos == attempt.cost_usd_nanos == attempt.held_usd_nanos
        else:
            assert 0 < applied.cost_usd_nanos == attempt.cost_usd_nanos < attempt.held_usd_nanos


async def test_a_client_that_does_not_read_holds_nobody_up() -> None:
    async def flood(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE)
        while True:
            await peer.chunk(token("x" * 60_000))

    async with World(flood) as world:
        reader, writer = await world.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
        text = "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer hg-test-key\r\n"
        body = STREAM.replace(b',"max_tokens":1000', b"")  # a flood beyond its limit would be cut
        writer.write(f"{text}{of('top')}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await asyncio.sleep(5)
        before = world.clock.now()
        assert (await world.runs.apply(order("kill", "top"))).interrupted == 1
        assert world.clock.now() == before  # the bill did not wait for the client
        assert world.store.live == 0
        await asyncio.sleep(2)
        assert len(world.outcomes) == 1
        reader.feed_eof()


async def test_a_pause_lets_calls_end_and_holds_new_ones_off_until_it_is_over() -> None:
    async with World(lasting) as world:
        first = start(world, STREAM, of("top"))
        await asyncio.sleep(1)
        assert await world.runs.apply(order("pause", "top")) == Applied(running=1)
        refused = await world.stream(headers=of("low", "top"))
        assert (refused.status, refused.error["code"]) == (429, "run_paused")
        assert refused.headers["retry-after"] == "10"
        assert "x-should-retry" not in refused.headers
        assert (await first).complete
        await world.runs.apply(order("resume", "top"))
        assert (await world.stream(headers=of("low", "top"))).complete


async def test_a_pause_that_cancels_ends_the_calls_in_flight() -> None:
    async with World(endless) as world:
        call = start(world, STREAM, of("top"))
        await asyncio.sleep(2)
        assert (await world.runs.apply(order("pause", "top", cancel=True))).interrupted == 1
        assert last_error(await call) == "run_paused"


async def test_a_top_up_lets_a_call_through_that_waits_for_money() -> None:
    limits = LimitsByName({"agent:unattributed": (Limit("usd", 2_100_000, "run"),)})
    async with World(lasting, limits_of=limits) as world:
        first = start(world, STREAM, of("top"))
        await asyncio.sleep(1)
        waiting = start(world, STREAM, of("top"))
        await asyncio.sleep(1)
        assert (world.store.waiting, len(world.upstreams[0].requests)) == (1, 1)
        changes = world.store.top_up("t1", f"run:{TENANT}/top", unit="usd", amount=2_000_000)
        assert changes is not None
        assert [(change.account, change.granted) for change in changes] == [(f"run:{TENANT}/top", 2_000_000)]
        await asyncio.sleep(0.1)
        assert (world.store.waiting, len(world.upstreams[0].requests)) == (0, 2)
        assert [response.complete for response in await asyncio.gather(first, waiting)] == [True, True]
        assert world.store.top_up("t1", f"run:{TENANT}/top", unit="usd", amount=2_000_000) == ()
        assert world.store.top_up("t2", f"run:{TENANT}/other", unit="usd", amount=1) is None


async def test_a_run_may_not_go_on_for_longer_than_it_may() -> None:
    async with World(plain, rules=AgentRules(run=RunLimits(seconds=60))) as world:
        assert (await world.request(headers=of("top"))).status == 200
        await asyncio.sleep(61)
        refused = await world.request(headers=of("top"))
        assert (refused.status, refused.error["code"]) == (403, "run_limit_exceeded")
        assert (refused.error["limit"], refused.error["allowed"]) == ("seconds", 60.0)
        assert refused.headers["x-should-retry"] == "false"
        assert (await world.request(headers=of("next"))).status == 200


async def test_a_run_may_not_be_wider_than_it_may() -> None:
    async with World(lasting, rules=AgentRules(run=RunLimits(width=2))) as world:
        calls = [start(world, STREAM, of("top")) for _ in range(2)]
        await asyncio.sleep(1)
        refused = await world.stream(headers=of("top"))
        assert (refused.status, refused.error["code"]) == (429, "run_width_exceeded")
        assert refused.headers["retry-after"] == "1"
        assert all(response.complete for response in await asyncio.gather(*calls))
        assert (await world.stream(headers=of("top"))).complete


async def test_a_tree_of_runs_may_not_be_deeper_than_it_may() -> None:
    async with World(plain, rules=AgentRules(run=RunLimits(depth=2))) as world:
        assert (await world.request(headers=of("middle", "top"))).status == 200
        refused = await world.request(headers=of("low", "middle"))
        assert (refused.status, refused.error["limit"], refused.error["value"]) == (403, "depth", 3)


async def test_a_child_run_draws_from_all_runs_above_it() -> None:
    limits = LimitsByName({}, {"run": (Limit("usd", 10**9),)})
    async with World(plain, limits_of=limits) as world:
        await world.request(headers=of("middle", "top"))
        await world.request(headers=of("low", "middle"))
        spent = {run: world.store.standing(f"run:{TENANT}/{run}")[0].totals.spent for run in ("top", "middle", "low")}
        assert spent == {"top": 2 * COST, "middle": 2 * COST, "low": COST}


async def test_a_reply_that_was_delivered_whole_stays_delivered() -> None:
    async def lingering(peer: Peer) -> None:
        """Its connection stays open after the end marker."""
        await peer.stream_head()
        for event in (ROLE, token("a"), FINISH, USAGE, DONE):
            await peer.chunk(event)
        await asyncio.sleep(60)

    async with World(lingering) as world:
        call = start(world, STREAM, of("top"))
        await asyncio.sleep(0.5)
        applied = await world.runs.apply(order("kill", "top"))
        assert (await call).complete
        assert applied.interrupted == 0
        (outcome,) = world.outcomes
        assert (outcome.error_code, outcome.client_gone, outcome.cost_usd_nanos) == (None, False, COST)


def test_the_reply_costs_what_these_tests_say() -> None:
    assert b'"prompt_tokens":10,"completion_tokens":5' in REPLY
