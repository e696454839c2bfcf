"""Words while a call runs: no more of them than there is room for."""

from __future__ import annotations

from proxy.content.heard import REPLY_MAX, ROOM, Heard, Keeping, Room
from tests.build import call
from tests.proxy.content.build import heard


def test_pieces_are_kept_in_order_and_counted() -> None:
    room = Room()
    made = heard(b"request", b"one ", room=room)
    made.add(b"two")
    assert (made.body, made.size, room.held) == (b"one two", 7, len(b"request") + 7)


def test_a_reply_that_is_too_long_is_let_go_and_still_counted() -> None:
    room = Room()
    made = heard(b"request", b"x" * REPLY_MAX, room=room)
    made.add(b"y")
    assert (made.body, made.size) == (None, REPLY_MAX + 1)
    made.add(b"z")
    assert made.body is None


def test_where_there_is_no_room_nothing_more_is_kept() -> None:
    room = Room()
    room.taken = ROOM + 1
    assert heard(reply=b"x", room=room).body is None


def test_a_reply_that_nobody_may_keep_is_only_counted() -> None:
    made = heard(reply=b"words", keeping=Keeping("full", reply=False))
    assert (made.body, made.size) == (b"", 5)


def test_no_object_shows_the_words() -> None:
    shown = repr(Heard(call(raw=b"asked"), Keeping("full"), Room(), headers={"a": "told"}, presented=("key",)))
    assert not any(word in shown for word in ("asked", "told", "key"))
