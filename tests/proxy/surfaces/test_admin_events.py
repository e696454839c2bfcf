from __future__ import annotations

import asyncio

from msgspec import Struct

from proxy.surfaces.admin_events import EventRoutes
from proxy.surfaces.admin_guard import Guard, Rules
from proxy.surfaces.feed import VIEWERS_MAX, Feed
from tests.proxy.admin import asking


class Word(Struct):
    said: str


def door() -> tuple[Feed, Guard]:
    feed = Feed("e", lambda: Word("all of it"))
    return feed, Guard(Rules(lambda audit: None, None, frozenset(), ()), EventRoutes(feed).routes())


async def test_it_is_an_event_stream_that_goes_on_from_the_last_id() -> None:
    feed, guard = door()
    feed.view()  # somebody looks on
    feed.publish("delta", Word("one"))
    async with asking(guard) as client, client.get("/events", headers={"Last-Event-ID": "e-0"}) as reply:
        assert (reply.status, reply.content_type) == (200, "text/event-stream")
        assert reply.headers["Cache-Control"] == "no-cache"
        assert await reply.content.readuntil(b"\n\n") == b'id: e-1\nevent: delta\ndata: {"said":"one"}\n\n'
        feed.publish("event", Word("two"))
        assert b'"two"' in await reply.content.readuntil(b"\n\n")
        feed.close()
        assert await reply.content.read() == b""


async def test_a_viewer_that_leaves_makes_room() -> None:
    feed, guard = door()
    async with asking(guard) as client:
        for _ in range(VIEWERS_MAX + 1):  # one after another
            async with client.get("/events") as reply:
                assert reply.status == 200, await reply.text()
                await reply.content.readuntil(b"\n\n")
            reply.close()
            await asyncio.sleep(0.01)
        assert "0 viewers" in repr(feed)


async def test_one_too_many_is_told_so_and_head_opens_nothing() -> None:
    feed, guard = door()
    viewers = [feed.view() for _ in range(VIEWERS_MAX)]
    async with asking(guard) as client:
        assert (await client.get("/events")).status == 503
        viewers[0].close()
        assert (await client.head("/events")).status == 200
        assert (await client.get("/events?since=1d")).status == 400
    assert f"{VIEWERS_MAX - 1} viewers" in repr(feed)
