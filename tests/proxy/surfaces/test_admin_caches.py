from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession

from proxy.caching.stock import Purge
from proxy.surfaces.admin_caches import CacheRoutes
from proxy.surfaces.admin_guard import Guard, Rules
from tests.known import CacheDesk
from tests.proxy.admin import asking

KEY = "ab" * 32


async def posted(client: ClientSession, body: object) -> tuple[int, Any]:
    reply = await client.post("/caches/purge", json=body)
    return reply.status, await reply.json()


async def test_it_tells_what_is_kept_and_what_it_has_saved() -> None:
    async with asking(
        Guard(Rules(lambda audit: None, None, frozenset(), ()), CacheRoutes(CacheDesk()).routes())
    ) as client:
        reply = await client.get("/caches")
        found = await reply.json()
        assert reply.status == 200
        assert found["on_disk"]["replay"] == {"entries": 1, "bytes": 512}
        assert found["savings"]["exact"]["saved_usd_nanos"] == 250_000_000
        assert (await client.get("/caches?agent=a")).status == 400


@pytest.mark.parametrize(
    ("body", "purge"),
    [
        ({"agent": "a"}, Purge("a")),
        ({"model": "m", "agent": "a"}, Purge("a", "m")),
        ({"key": KEY}, Purge(key=KEY)),
        ({"key": KEY[:32]}, Purge(key=KEY[:32])),
        ({"all": True}, Purge()),
    ],
)
async def test_a_purge_says_what_is_to_go(body: dict[str, object], purge: Purge) -> None:
    desk = CacheDesk()
    async with asking(Guard(Rules(lambda audit: None, None, frozenset(), ()), CacheRoutes(desk).routes())) as client:
        assert await posted(client, body) == (200, {"in_memory": 2, "on_disk": 3})
    assert desk.purges == [purge]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"all": False},
        {"all": True, "agent": "a"},
        {"agent": ""},
        {"key": "xyz"},
        {"key": KEY[:-1]},
        {"keys": KEY},
        [],
    ],
)
async def test_a_purge_that_could_be_meant_otherwise_takes_nothing(body: object) -> None:
    desk = CacheDesk()
    async with asking(Guard(Rules(lambda audit: None, None, frozenset(), ()), CacheRoutes(desk).routes())) as client:
        assert (await posted(client, body))[0] == 400
    assert desk.purges == []
