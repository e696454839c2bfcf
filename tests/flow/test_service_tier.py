"""What the vendor says it served is what is charged, whatever was asked for and held."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies.plan import Planner, Route, Routes
from tests.build import PRICE
from tests.flow.world import DONE, REPLY, ROLE, Peer, World, token

FAST = structs.replace(PRICE, id="fast", input_uncached=2 * PRICE.input_uncached, output=2 * PRICE.output)
USAGE = b'"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}'
STANDARD, PRIORITY = 20_000, 40_000  # nano-dollars


def with_tiers(world: World) -> None:
    (target,) = world.snapshot.planner.routes.find("m").targets  # type: ignore[union-attr]
    sold = structs.replace(target, tiers=(("standard", PRICE), ("priority", FAST)))
    world.snapshot = structs.replace(world.snapshot, planner=Planner(Routes((Route("m", (sold,)),))))


@pytest.mark.parametrize(
    ("asked", "served", "cost", "price_id"),
    [
        (b"priority", b'"default"', STANDARD, "test"),
        (b"priority", b'"priority"', PRIORITY, "fast"),
        (b"priority", b"null", PRIORITY, "fast"),
        (b"auto", b'"priority"', PRIORITY, "fast"),
        (b"auto", b'"default"', STANDARD, "test"),
        (b"default", b'"turbo"', PRIORITY, "fast"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_the_tier_served_is_charged(
    asked: bytes, served: bytes, cost: int, price_id: str, *, stream: bool
) -> None:
    async def vendor(peer: Peer) -> None:
        if not stream:
            await peer.reply(REPLY[:-1] + b',"service_tier":' + served + b"}")
            return
        tier = b'"service_tier":' + served
        await peer.stream_head()
        await peer.chunk(ROLE + token("hello"))
        await peer.chunk(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],' + tier + b"}\n\n")
        await peer.chunk(b'data: {"choices":[],' + USAGE + b"," + tier + b"}\n\n" + DONE)
        await peer.end()

    async with World(vendor) as world:
        with_tiers(world)
        more = b',"stream":true' if stream else b""
        response = await world.request(b'{"model":"m","messages":[],"service_tier":"' + asked + b'"' + more + b"}")
        assert response.status == 200
        (attempt,) = world.outcomes[0].attempts
        assert attempt.cost_usd_nanos == cost
        assert attempt.target.price is not None and attempt.target.price.id == price_id
        assert attempt.usage is not None
        assert ("unknown_tier" in attempt.usage.flags) == (served == b'"turbo"')
