from __future__ import annotations

import asyncio
import sqlite3

import pytest

from proxy.errors import ProxyError
from proxy.state.ledger_answer import answer, nothing


async def answered(ask: object) -> object:
    file, loop = sqlite3.connect(":memory:"), asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()
    answer(ask, loop, future, file)  # type: ignore[arg-type]
    return await future


async def test_an_answer_reaches_who_asked() -> None:
    assert await answered(lambda file: file.execute("SELECT 7").fetchone()) == (7,)
    assert await answered(nothing) is None


async def test_a_question_that_fails_fails_for_who_asked() -> None:
    with pytest.raises(sqlite3.OperationalError, match="nonsense"):
        await answered(lambda file: file.execute("SELECT nonsense"))


async def test_an_interrupted_question_is_an_overload() -> None:
    def interrupted(file: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("interrupted")

    with pytest.raises(ProxyError) as refused:
        await answered(interrupted)
    assert refused.value.code == "overloaded"


async def test_who_no_longer_waits_is_not_told() -> None:
    file, loop = sqlite3.connect(":memory:"), asyncio.get_running_loop()
    for ask in (nothing, lambda connection: connection.execute("SELECT nonsense")):
        future: asyncio.Future[object] = loop.create_future()
        future.cancel()
        answer(ask, loop, future, file)
        await asyncio.sleep(0)
