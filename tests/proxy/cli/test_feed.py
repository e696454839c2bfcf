"""The live feed as a list of messages, whatever becomes of connections."""

from __future__ import annotations

import pytest

from proxy.cli.asking import Refusal
from proxy.cli.feed import PAUSES_S, Feed, Message, Said, said
from proxy.telemetry.live_report import Delta, Event, Snapshot
from tests.proxy.cli.live_gate import arguments, frame, live_gate
from tests.proxy.cli.live_samples import BREAKER, SNAPSHOT, delta

FIRST = frame("snapshot", SNAPSHOT, "e-1")


def test_lines_become_events_whatever_their_ends() -> None:
    stream = b": heartbeat\n\nid: 7\r\nevent: delta\r\ndata: {}\r\n\r\ndata:a\ndata: b\n\nevent: empty\n\n"
    assert [*said(stream.splitlines(keepends=True))] == [Said("delta", b"{}", "7"), Said("message", b"a\nb", "7")]


def test_what_is_not_whole_is_not_said() -> None:
    assert [*said([b"data: {}\n"])] == []


def test_messages_come_in_order_and_unknown_ones_are_passed_over() -> None:
    strange = b'event: dropped\ndata: {"messages": 3}\n\n'
    messages = collected(FIRST + strange + frame("delta", delta(), "e-2") + frame("event", BREAKER, "e-3"))
    assert [type(message) for message in messages] == [Snapshot, Delta, Event]
    assert messages[0] == SNAPSHOT


def collected(*scripts: bytes | int) -> list[Message]:
    messages: list[Message] = []
    with live_gate(*scripts) as gate:
        try:
            messages.extend(Feed(arguments(gate), lambda seconds: None))
        except Refusal:
            return messages
    raise AssertionError("a feed goes on until its gate is gone")


def test_a_connection_that_broke_is_made_again_behind_the_last_message() -> None:
    pauses: list[float] = []
    with live_gate(FIRST, frame("delta", delta(), "e-2")) as gate:
        feed = iter(Feed(arguments(gate), pauses.append))
        assert isinstance(next(feed), Snapshot)
        assert isinstance(next(feed), Delta)
        with pytest.raises(Refusal, match="no more"):
            next(feed)
        assert gate.last_ids[:3] == [None, "e-1", "e-2"]
    assert pauses[-len(PAUSES_S) :] == [*PAUSES_S]


def test_a_gate_that_never_answered_is_not_asked_again() -> None:
    with live_gate(503) as gate:
        with pytest.raises(Refusal, match="no more"):
            next(iter(Feed(arguments(gate), lambda seconds: None)))
        assert len(gate.last_ids) == 1


def test_a_gate_of_another_version_is_named() -> None:
    with live_gate(b'event: snapshot\ndata: {"x": 1}\n\n') as gate, pytest.raises(Refusal, match="another version"):
        next(iter(Feed(arguments(gate), lambda seconds: None)))
