"""Messages between two processes: whole, in order, in one frame a turn, and heard to the end when one of them dies."""

from __future__ import annotations

import asyncio
import socket

from msgspec import Raw, Struct, msgpack

from proxy.workers.channel import Channel


class Note(Struct, frozen=True, array_like=True, tag="note"):
    number: int
    text: str = ""


class End:
    def __init__(self) -> None:
        self.heard: list[Note] = []
        self.lost = 0
        self.channel = Channel(msgpack.Decoder(list[Note]), self.heard.append, self._lost)

    def _lost(self) -> None:
        self.lost += 1


async def pair() -> tuple[End, End, socket.socket]:
    one, other = socket.socketpair()
    ends = End(), End()
    await ends[0].channel.connect(one)
    await ends[1].channel.connect(other)
    return *ends, one


async def test_messages_arrive_whole_and_in_order_in_both_directions() -> None:
    left, right, _ = await pair()
    for number in range(500):
        left.channel.send(Note(number, "x" * number))
        right.channel.send(Raw(msgpack.encode(Note(-number))))
    await asyncio.sleep(1)
    assert [note.number for note in right.heard] == list(range(500))
    assert [note.number for note in left.heard] == [-number for number in range(500)]
    assert right.heard[-1].text == "x" * 499


async def test_what_is_said_in_one_turn_is_one_frame() -> None:
    one, other = socket.socketpair()
    left = End()
    await left.channel.connect(one)
    for number in range(3):
        left.channel.send(Note(number))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    frame = other.recv(65536)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert msgpack.decode(frame[4:], type=list[Note]) == [Note(0), Note(1), Note(2)]


async def test_a_frame_may_come_in_pieces_of_any_size() -> None:
    one, other = socket.socketpair()
    left = End()
    await left.channel.connect(one)
    data = msgpack.encode([Note(1, "hello"), Note(2)])
    for byte in len(data).to_bytes(4, "big") + data:
        other.send(bytes([byte]))
        await asyncio.sleep(0.001)
    assert left.heard == [Note(1, "hello"), Note(2)]


async def test_what_a_dead_process_wrote_is_heard_before_it_is_lost() -> None:
    left, right, _ = await pair()
    for number in range(100):
        left.channel.send(Note(number))
    left.channel.close()
    await asyncio.sleep(1)
    assert len(right.heard) == 100
    assert (right.lost, right.channel.open) == (1, False)
    right.channel.send(Note(1))  # to nobody


async def test_a_message_that_cannot_be_sent_takes_no_other_with_it() -> None:
    left, right, _ = await pair()
    for note in (Note(1), Note(2, "\udcff"), Note(2**70), Note(3)):
        left.channel.send(note)
    await asyncio.sleep(0.1)
    assert right.heard == [Note(1), Note(3)]


async def test_what_is_said_before_the_connection_stands_is_not_lost() -> None:
    one, other = socket.socketpair()
    left, right = End(), End()
    await right.channel.connect(other)
    left.channel.send(Note(7))
    await asyncio.sleep(0.1)
    await left.channel.connect(one)
    await asyncio.sleep(0.1)
    assert right.heard == [Note(7)]
