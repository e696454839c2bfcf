from __future__ import annotations

import asyncio

import pytest

from proxy.surfaces.request import Body, Request


async def arriving(body: Body, limit: int) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(body.arrive(limit))
    await asyncio.sleep(0)
    assert body.awaited
    return task


def test_a_body_is_the_bytes_that_came_in_their_order() -> None:
    body = Body()
    assert body.data() == b""
    for part in (b"one", b" ", b"two"):
        body.feed(part)
    body.end()
    assert (body.data(), body.size, body.complete) == (b"one two", 7, True)


async def test_who_waits_for_a_body_is_woken_by_its_end_and_not_by_its_pieces() -> None:
    body = Body()
    task = await arriving(body, 100)
    body.feed(b"a")
    await asyncio.sleep(0.1)
    assert not task.done()
    body.end()
    await task
    assert not body.awaited


async def test_who_waits_for_a_body_is_woken_when_it_breaks() -> None:
    body = Body()
    task = await arriving(body, 100)
    body.fail()
    await task
    assert (body.broken, body.complete) == (True, False)


async def test_of_a_body_beyond_its_limit_nothing_is_kept_and_its_reader_knows_at_once() -> None:
    body = Body()
    task = await arriving(body, 10)
    for _ in range(3):
        body.feed(b"x" * 10)
    await task
    assert (body.size, body.data(), body.complete) == (30, b"", False)


@pytest.mark.parametrize("state", ["end", "fail", "too large"])
async def test_a_body_that_is_decided_already_costs_no_wait(state: str) -> None:
    body = Body()
    body.feed(b"x" * 20)
    if state != "too large":
        getattr(body, state)()
    waiting = body.arrive(10)
    with pytest.raises(StopIteration):
        waiting.send(None)


async def test_a_reader_that_was_cancelled_is_not_woken() -> None:
    body = Body()
    task = await arriving(body, 10)
    task.cancel()
    body.end()
    await asyncio.wait((task,))
    assert not body.awaited


def test_a_request_that_is_printed_shows_no_key() -> None:
    request = Request("POST", "/v1", {"authorization": "Bearer secret"}, True, True, Body())
    assert "secret" not in repr(request)
