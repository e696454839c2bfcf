from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec import Struct

from proxy.errors import ProxyError
from proxy.surfaces.feed import HEARTBEAT, HEARTBEAT_S, RING, VIEWERS_MAX, WAITING_MAX, Feed


class Word(Struct):
    said: str


def feed() -> Feed:
    return Feed("e", lambda: Word("all of it"))


def kinds(data: bytes) -> list[tuple[str, str, str]]:
    """(id, kind, data) of each message."""
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("id", ""), fields["event"], fields["data"]))
    return found


def said(data: bytes) -> list[str]:
    return [msgspec.json.decode(text)["said"] for _, _, text in kinds(data)]


async def test_a_viewer_begins_with_a_snapshot_and_hears_what_follows() -> None:
    made = feed()
    made.publish("delta", Word("before"))
    viewer = made.view()
    assert kinds(await viewer.take()) == [("e-1", "snapshot", '{"said":"all of it"}')]
    made.publish("delta", Word("one"))
    made.publish("event", Word("two"))
    assert kinds(await viewer.take()) == [("e-2", "delta", '{"said":"one"}'), ("e-3", "event", '{"said":"two"}')]


async def test_a_viewer_that_was_cut_off_gets_what_it_has_missed_and_nothing_twice() -> None:
    made = feed()
    made.view()  # somebody looks on
    for word in ("one", "two", "three"):
        made.publish("delta", Word(word))
    viewer = made.view("e-1")
    assert said(await viewer.take()) == ["two", "three"]
    current = made.view("e-3")
    made.publish("delta", Word("four"))
    assert said(await current.take()) == ["four"]


@pytest.mark.parametrize("last_id", [None, "", "e-", "e-99", "e--1", "other-2", "e-٣", "e-" + "9" * 30, "nonsense"])
async def test_who_cannot_go_on_begins_anew(last_id: str | None) -> None:
    made = feed()
    made.publish("delta", Word("one"))
    assert said(await made.view(last_id).take()) == ["all of it"]


async def test_the_ring_reaches_back_so_far_and_no_further() -> None:
    made = feed()
    made.view()  # somebody looks on
    for number in range(RING + 1):
        made.publish("delta", Word(str(number)))
    assert len(said(await made.view("e-1").take())) == RING
    assert said(await made.view("e-0").take()) == ["all of it"]


async def test_a_slow_viewer_loses_the_oldest_and_is_told_how_many() -> None:
    made = feed()
    slow, quick = made.view(), made.view()
    await quick.take()
    for number in range(WAITING_MAX + 4):
        made.publish("delta", Word(str(number)))
    (notice, *rest) = kinds(await slow.take())
    assert notice == ("", "dropped", '{"messages":5}')  # the snapshot is the fifth
    assert [id for id, _, _ in rest] == [f"e-{number}" for number in range(5, WAITING_MAX + 5)]
    made.publish("delta", Word("next"))
    assert said(await slow.take()) == ["next"]


async def test_silence_is_broken_by_heartbeats() -> None:
    viewer = feed().view()
    await viewer.take()
    began = asyncio.get_running_loop().time()
    assert await viewer.take() == HEARTBEAT
    assert asyncio.get_running_loop().time() - began == pytest.approx(HEARTBEAT_S)


async def test_there_is_room_for_so_many_viewers_and_for_others_once_they_leave() -> None:
    made = feed()
    viewers = [made.view() for _ in range(VIEWERS_MAX)]
    with pytest.raises(ProxyError) as refused:
        made.view()
    assert refused.value.status == 503
    viewers[0].close()
    made.view()


async def test_the_end_of_the_feed_ends_its_viewers_after_what_waits() -> None:
    made = feed()
    viewer = made.view()
    made.publish("delta", Word("last"))
    made.close()
    assert said(await viewer.take()) == ["all of it", "last"]
    assert await viewer.take() == b""
    late = made.view()
    assert said(await late.take()) == ["all of it"] and await late.take() == b""


async def test_nothing_is_made_and_kept_where_nobody_looks_for_long() -> None:
    made = feed()
    viewer = made.view()
    made.publish("delta", Word("seen"))
    viewer.close()
    for number in range(RING):
        made.publish("delta", Word(str(number)))
    assert said(await made.view("e-1").take()) == [str(number) for number in range(RING)], "just cut off: it goes on"
    quiet = feed()
    quiet.view().close()
    for number in range(RING + 2):
        quiet.publish("delta", Word(str(number)))
    back = quiet.view(f"e-{RING + 1}")
    assert said(await back.take()) == ["all of it"]
    quiet.publish("delta", Word("again"))
    assert said(await back.take()) == ["again"]


async def test_nothing_is_made_and_kept_before_somebody_has_looked() -> None:
    made = feed()
    for number in range(RING // 2):
        made.publish("delta", Word(str(number)))
    assert said(await made.view("e-1").take()) == ["all of it"], "a ring that held them would give them"
