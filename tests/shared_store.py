"""A store for tests: its arithmetic of rate limits once more, in Python, as `proxy.shared.grant` says it in Lua."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import ceil, floor

from policies.rate_limit import SPAN_S
from policies.shared_rate import Ask, Told
from proxy.shared.answers import PURGE
from proxy.state.shared_store import Order, StoreError


class Model:
    def __init__(self) -> None:
        self.born: float | None = None
        self.buckets: dict[str, tuple[float, float]] = {}

    def empty(self) -> None:
        """As after a restart without anything on the disk."""
        self.born = None
        self.buckets.clear()

    def run(self, asks: Sequence[Ask], now: float, *, known: bool = True, late_s: float = 0.0) -> list[Told]:
        if self.born is None:
            self.born = now if known else -SPAN_S
        found: list[tuple[Ask, float, float, float]] = []
        for ask in asks:
            full_at, was_full_at = self.buckets.get(ask.name, (self.born + SPAN_S, self.born))
            if full_at <= now:
                full_at = was_full_at = now
            back = 0 if was_full_at > now - ask.back_age_s - late_s else ask.back
            full_at = max(now, full_at + (ask.debit - back) * ask.interval_s)
            wait_s = full_at - now + (min(ask.need, ask.room) - ask.room) * ask.interval_s
            found.append((ask, full_at, was_full_at, wait_s))
        granted = all(wait_s <= 1e-6 for ask, _, _, wait_s in found if ask.need)
        return [self._answer(each, now, granted=granted) for each in found]

    def _answer(self, bucket: tuple[Ask, float, float, float], now: float, *, granted: bool) -> Told:
        ask, full_at, was_full_at, wait_s = bucket
        level = ask.room - (full_at - now) / ask.interval_s
        got = ask.need + max(0, min(ask.extra, floor(level - ask.need + 1e-6))) if granted else 0
        self.buckets[ask.name] = (round(full_at + got * ask.interval_s, 6), was_full_at)
        return Told(got, floor(level - got + 1e-6), max(0.0, wait_s) if ask.need else 0.0)


class FakeStore:
    """A store in this process, on the test's own clock. `delay_s`: of each answer, after it was done; `broken`: an
    error instead; `deaf`: nothing is done, and nothing comes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.model = Model()
        self.values: dict[str, tuple[bytes, float]] = {}
        self.delay_s = 0.0
        self.broken = self.deaf = False
        self.asked: list[str] = []
        self.closed = False
        self._now = now

    async def run(self, script: str, orders: Sequence[Order]) -> list[list[int]]:
        self.asked.append("run")
        await self._fail()
        replies = [self._purge(*order) if script == PURGE else self._run(*order) for order in orders]
        await asyncio.sleep(self.delay_s)
        return replies

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked.append("get")
        await self._fail()
        await asyncio.sleep(self.delay_s)
        found = [self.values.get(key, (b"", -1.0)) for key in keys]
        return [value if until > self._now() else None for value, until in found]

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        self.asked.append("put")
        await self._fail()
        await asyncio.sleep(self.delay_s)
        self.values[key] = value, self._now() + ttl_s

    async def ping(self) -> None:
        self.asked.append("ping")
        await self._fail()
        await asyncio.sleep(self.delay_s)

    async def close(self) -> None:
        self.closed = True

    async def _fail(self) -> None:
        if self.broken:
            raise StoreError("ConnectionError")
        if self.deaf:
            await asyncio.Event().wait()

    def _purge(self, keys: Sequence[str], words: Sequence[str]) -> list[int]:
        line, ttl_ms, most, all_of_it = words
        before = self.values.get(keys[0], (b"", 0.0))[0]
        after = before + line.encode()
        self.values[keys[0]] = (
            (after if len(after) <= int(most) else all_of_it.encode()),
            self._now() + int(ttl_ms) / 1e3,
        )
        return [1]

    def _run(self, keys: Sequence[str], words: Sequence[str]) -> list[int]:
        answers = self.model.run(read_back(keys, words), self._now(), known=words[0] == "1")
        return [number for each in answers for number in (each.got, each.level, ceil(each.wait_s * 1e6))]


def read_back(keys: Sequence[str], words: Sequence[str]) -> list[Ask]:
    """What `grant.arguments` was given; ages hold what an answer may be late by."""
    asks = []
    for at, key in enumerate(keys[1:]):
        interval_us, room, need, extra, debit, back, age_us = words[2 + at * 7 : 9 + at * 7]
        whole = [int(each) for each in (room, need, extra, debit, back)]
        asks.append(Ask(key.partition(":rate:")[2], float(interval_us) / 1e6, *whole, int(age_us) / 1e6))
    return asks
