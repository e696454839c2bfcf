"""A budget on the way of real requests: admitted together, clamped, waited for, refused in figures."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import structs

from policies.accounts import Hold
from policies.limits import Limit, LimitsByName
from proxy.errors import ProxyError
from proxy.types import Charge
from tests.build import PRICE
from tests.flow.world import Peer, World, long_stream, plain, streaming

COST = 10 * 1_000 + 5 * 2_000  # what REPLY and USAGE report, at the price of the tests
BODY = b'{"model":"m","messages":[],"max_tokens":1000}'


def limited(*limits: Limit) -> LimitsByName:
    return LimitsByName({"key:key-1": limits})


async def slow(peer: Peer) -> None:
    await asyncio.sleep(1)
    await plain(peer)


async def test_calls_at_the_same_time_cannot_spend_more_than_there_is() -> None:
    limit = 3_000_000
    async with World(slow, limits_of=limited(Limit("usd", limit, hold="strict"))) as world:
        replies = await asyncio.gather(*[world.request(BODY) for _ in range(50)])
        served = [reply for reply in replies if reply.status == 200]
        refused = [reply for reply in replies if reply.status != 200]
        assert served
        assert refused
        assert all(reply.error["code"] == "budget_exceeded" for reply in refused)
        (usd,) = world.store.standing("key:key-1")
        assert (usd.totals.spent, usd.totals.overrun, usd.held) == (len(served) * COST, 0, 0)
        assert len(world.upstreams[0].requests) == len(served)


async def test_a_refusal_names_the_limit_and_takes_nothing() -> None:
    async with World(plain, limits_of=limited(Limit("usd", 100), Limit("requests", 5, "day"))) as world:
        reply = await world.request(BODY)
        assert (reply.status, reply.headers["x-should-retry"]) == (402, "false")
        limits = reply.error["limits"]
        assert isinstance(limits, list)
        assert [(limit["account"], limit["reason"]) for limit in limits] == [("key:key-1", "floor")]
        assert [standing.totals.spent for standing in world.store.standing("key:key-1")] == [0, 0]
        assert world.upstreams[0].requests == []
        (outcome,) = world.outcomes
        assert (outcome.error_code, outcome.cost_usd_nanos, outcome.charges) == ("budget_exceeded", 0, ())
        (said,) = [decision.said for decision in outcome.decisions]
        assert said.startswith("refused by the budget of key:key-1 in usd: this call alone needs more than all of it; ")
        assert said.endswith("its window never ends by itself")


async def test_the_upstream_is_told_what_the_money_can_pay() -> None:
    async with World(plain, limits_of=limited(Limit("usd", 1_000_000))) as world:
        reply = await world.request(BODY)
        assert reply.status == 200
        sent = msgspec.json.decode(world.upstreams[0].requests[0][1])
        assert 64 <= sent["max_tokens"] < 1000
        assert reply.headers["x-headgate-output-clamped"] == str(sent["max_tokens"])


async def test_a_request_limit_counts_calls_and_not_tries() -> None:
    tries = 0

    async def second_time_lucky(peer: Peer) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            await peer.reply(b'{"error":{"message":"busy"}}', status="503 Busy")
        else:
            await plain(peer)

    async with World(second_time_lucky, limits_of=limited(Limit("requests", 1, "day"))) as world:
        first = await world.request()
        assert (first.status, first.headers["x-headgate-attempts"]) == (200, "2")
        second = await world.request()
        assert (second.status, second.error["code"]) == (429, "budget_exceeded")
        assert int(second.headers["retry-after"]) > 0


async def test_concurrency_is_given_back_at_the_end_of_a_stream() -> None:
    async with World(long_stream, limits_of=limited(Limit("concurrency", 1))) as world:
        first = asyncio.ensure_future(world.stream())  # noqa: TID251
        await asyncio.sleep(1)
        refused = await world.stream()
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert (await first).complete
        assert (await world.stream()).status == 200


async def test_a_stream_is_charged_what_it_reported_and_the_outcome_says_to_whom() -> None:
    async with World(streaming, limits_of=limited(Limit("usd", 10**9, "day"), Limit("tokens", 10**6))) as world:
        assert (await world.stream()).complete
        (outcome,) = world.outcomes
        assert [(charge.period.unit, charge.amount) for charge in outcome.charges] == [("usd", COST), ("tokens", 15)]


class FullDisk:
    """Stands beside the budgets where no hold can be written any more."""

    def held(self, hold: Hold) -> ProxyError | None:
        return ProxyError("ledger_unavailable", "Holds cannot be recorded: No space left on device.", retry_after_s=1.0)

    def posted(self, id: str, charges: tuple[Charge, ...]) -> None:
        raise AssertionError("nothing was held")


class Packing:
    """Writes as the journal does."""

    def held(self, hold: Hold) -> ProxyError | None:
        msgspec.msgpack.encode((hold.amounts.by_index, hold.taken))
        return None

    def posted(self, id: str, charges: tuple[Charge, ...]) -> None:
        msgspec.msgpack.encode(charges)


async def test_a_call_beyond_all_measure_is_no_defect_and_leaves_nothing_held() -> None:
    dear = structs.replace(PRICE, output=1_000_000_000)
    body = msgspec.json.encode({"model": "m", "prompt": ["a"] * 2_048, "n": 1_024, "max_tokens": 10_000_000})
    async with World(plain, price=dear, limits_of=limited(Limit("requests", 10))) as world:
        world.store._witness = Packing()
        assert (await world.request(body, path="/v1/completions")).status == 200
        assert world.store.standing("key:key-1")[0].held == 0


async def test_what_cannot_be_recorded_is_not_sent() -> None:
    async with World(plain, limits_of=limited(Limit("usd", 10**9))) as world:
        world.store._witness = FullDisk()
        reply = await world.request(BODY)
        assert (reply.status, reply.error["code"], reply.headers["retry-after"]) == (503, "ledger_unavailable", "1")
        assert world.upstreams[0].requests == []
        world.store._witness = None
        assert (await world.request(BODY)).status == 200
