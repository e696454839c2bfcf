"""How a question that was put to the ledger is answered: asked on the writer's thread, told on the asker's event loop.

A question that fails, fails for whoever asked; the writer goes on. One that was interrupted because settlements piled
up behind it is an overload, not a defect.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from proxy.errors import ProxyError

T = TypeVar("T")


def answer(
    ask: Callable[[sqlite3.Connection], T],
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[T],
    connection: sqlite3.Connection,
) -> None:
    try:
        settle = partial(_resolve, future, ask(connection))
    except Exception as error:  # it belongs to whoever asked, not to the writer
        settle = partial(_reject, future, _meaning(error))
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(settle)


def _resolve(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _reject(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _meaning(error: Exception) -> Exception:
    if isinstance(error, sqlite3.OperationalError) and str(error) == "interrupted":
        return ProxyError("overloaded", "the question took too long while calls waited for the ledger: narrow it")
    return error


def nothing(connection: sqlite3.Connection) -> None:
    """The question that only waits for its turn."""
