"""Counts text with the packed vocabularies, off the event loop: loading one takes 0.2 s, and most gates never need any.

The module that holds them is imported by name the first time that an upstream reports no usage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Protocol

INLINE_CHARS = 20_000  # above this a thread is cheaper than the loop's time


class Counter(Protocol):
    def count(self, text: str, encoding: str) -> int: ...


class Counting:
    def __init__(self, on_failure: Callable[[Exception], None]) -> None:
        self._on_failure = on_failure
        self._counter: Counter | None = None
        self._ready: set[str] = set()

    def __repr__(self) -> str:
        return f"Counting({sorted(self._ready)})"

    async def count(self, text: str, encoding: str) -> int | None:
        """None, and the reason to `on_failure`, when the tokenizer fails: an estimate then takes its place."""
        try:
            counter = self._counter
            if counter is not None and encoding in self._ready and len(text) <= INLINE_CHARS:
                return counter.count(text, encoding)
            counted = await asyncio.get_running_loop().run_in_executor(None, self._count, text, encoding)
        except Exception as error:  # of code that is not ours; it must not cost a settlement
            self._on_failure(error)
            return None
        self._ready.add(encoding)
        return counted

    def _count(self, text: str, encoding: str) -> int:
        if self._counter is None:
            self._counter = import_module("pricing.vocabulary").Counter()
        assert self._counter is not None
        return self._counter.count(text, encoding)
