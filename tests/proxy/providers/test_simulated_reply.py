from __future__ import annotations

import asyncio

import pytest

from proxy.errors import ProxyError
from proxy.providers.simulated_reply import Bill, Books, SimulatedResponse, Step
from tests.proxy.providers.calls import StillClock

FULL = Bill("m", "chat", 10, 0, 3)


def reply(books: Books, *, bill: Bill | None = FULL, cut: bool = False) -> SimulatedResponse:
    now = books.now()
    steps = [Step(now + 1, b"a", 1), Step(now + 2, b"b", 2), Step(now + 3, b"c", 3)]
    return SimulatedResponse(books, 200, steps=steps, bill=bill, cut=cut)


async def test_each_step_comes_when_it_is_due_and_the_end_is_billed_in_full() -> None:
    books = Books(StillClock())
    start, response = books.now(), reply(books)
    assert [(await response.read(), round(books.now() - start)) for _ in range(4)] == [
        (b"a", 1),
        (b"b", 2),
        (b"c", 3),
        (b"", 3),
    ]
    assert list(books.bills) == [FULL]


async def test_what_is_due_at_once_comes_at_once() -> None:
    books = Books(StillClock())
    response = reply(books)
    await asyncio.sleep(2.5)
    assert (await response.read(), await response.read(), await response.read()) == (b"ab", b"c", b"")


@pytest.mark.parametrize(("after_s", "tokens"), [(0.5, 0), (1.5, 1), (2.5, 2)])
async def test_closing_bills_what_was_due(after_s: float, tokens: int) -> None:
    books = Books(StillClock())
    response = reply(books)
    await asyncio.sleep(after_s)
    response.close()
    assert list(books.bills) == [Bill("m", "chat", 10, 0, tokens, cancelled=True)]
    assert await response.read() == b""


async def test_an_answer_that_was_complete_is_not_cancelled_by_closing_it_unread() -> None:
    books = Books(StillClock())
    response = reply(books)
    await asyncio.sleep(5)
    response.close()
    response.close()
    assert list(books.bills) == [FULL]


async def test_a_cut_shows_at_its_end_and_leaving_before_it_is_a_cancellation() -> None:
    books = Books(StillClock())
    response = reply(books, cut=True)
    for expected in (b"a", b"b", b"c"):
        assert await response.read() == expected
    with pytest.raises(ProxyError):
        await response.read()
    left = reply(books, cut=True)
    await left.read()
    left.close()
    assert [(bill.cut, bill.cancelled, bill.completion_tokens) for bill in books.bills] == [
        (True, False, 3),
        (False, True, 1),
    ]


async def test_an_error_costs_nothing() -> None:
    books = Books(StillClock())
    response = reply(books, bill=None)
    response.close()
    assert (list(books.bills), books.totals()) == ([], {})


async def test_who_gives_up_waiting_has_closed() -> None:
    books = Books(StillClock())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await reply(books).ready()
    assert books.bills[0].cancelled and books.totals()["m"].cancelled == 1
