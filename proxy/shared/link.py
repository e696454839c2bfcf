"""Whether the store answers: every question to it is bounded, and after a few failures nobody waits for it any more.

A breaker of its own (`policies.breaker_state`) opens after five failures in a row. While it is open nothing is asked
but by a probe, each second and in the background; four answers in time close it again. What a call does without an
answer is decided by whoever asks. `out_since` bounds what a process may grant to itself meanwhile: it begins when the
store can have granted nothing to anybody any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Final, Literal, Protocol, TypeVar

from policies.breaker_state import SUCCESSES, Breaker, Transition
from proxy.clock import Clock
from proxy.state.shared_store import Store, StoreError
from proxy.telemetry.log import Field, Level

T = TypeVar("T")
Operation = Literal["rates", "get", "put", "ping"]
Result = Literal["ok", "timeout", "error", "skipped"]
Tell = Callable[[str, Level, Mapping[str, Field]], None]

STILL_OUT: Final = frozenset({"trial_failed", "probe_failed"})  # it was half open, and has not been told back
BEAT_S: Final = 1.0
RETURN_S: Final = 2 * BEAT_S  # until all processes have found it back, and told it what they did alone
HEARD_S: Final = 2 * BEAT_S  # as long as it answers, no process is without a word of it for longer


class Heard(Protocol):
    """Is told of every question. Must not wait."""

    def asked(self, operation: Operation, result: Result, seconds: float) -> None: ...

    def skipped(self, operation: Operation) -> None: ...


class OutError(Exception):
    """There is no answer, and will be none."""


class Link:
    def __init__(self, store: Store, clock: Clock, *, timeout_s: float, heard: Heard, tell: Tell) -> None:
        self.store = store
        self.timeout_s = timeout_s
        self.breaker = Breaker("shared store")
        self._clock = clock
        self._heard = heard
        self._tell = tell
        self._rng = clock.rng("shared store")
        self._back_at = -inf
        self._answered_at = clock.now()  # before the first answer: nobody was granted anything here
        self._failure = ""

    def __repr__(self) -> str:
        return f"Link({self.breaker.state}, {self.store})"

    @property
    def up(self) -> bool:
        return self.breaker.state == "closed"

    @property
    def settled(self) -> bool:
        """Whether it knows what all processes did alone, as far as can be known; until then they go on so."""
        return self.up and self._clock.now() >= self._back_at + RETURN_S

    @property
    def out_since(self) -> float:
        """The earliest instant since which the store can have granted nothing to anybody, if it is out."""
        return self._answered_at + HEARD_S

    async def ask(self, operation: Operation, work: Callable[[Store], Awaitable[T]]) -> T:
        """Within `timeout_s`. Raises OutError."""
        if not self.up:
            self._heard.skipped(operation)
            raise OutError
        return await self._ask(operation, work)

    async def probe(self) -> None:
        """Looks whether it answers again."""
        try:
            await self._ask("ping", _ping)
            self._turned(self.breaker.admit("probe_ok", self._clock.now()))
            for _ in range(SUCCESSES):
                await self._ask("ping", _ping)
        except OutError:
            return

    async def beat(self) -> None:
        """Heard from, if nothing else was asked."""
        if self._clock.now() - self._answered_at < BEAT_S / 2:
            return
        try:
            await self.ask("ping", _ping)
        except OutError:
            return

    async def close(self) -> None:
        try:
            async with asyncio.timeout(self.timeout_s):
                await self.store.close()
        except (StoreError, TimeoutError, OSError):
            return

    async def _ask(self, operation: Operation, work: Callable[[Store], Awaitable[T]]) -> T:
        began, generation = self._clock.now(), self.breaker.generation
        try:
            async with asyncio.timeout(self.timeout_s):
                found = await work(self.store)
        except TimeoutError as error:
            self._failed(operation, "timeout", began, generation)
            raise OutError from error
        except StoreError as error:
            self._failure = str(error)
            self._failed(operation, "timeout" if str(error) == "TimeoutError" else "error", began, generation)
            raise OutError from error
        now = self._clock.now()
        if self.settled:
            self._answered_at = now
        self._heard.asked(operation, "ok", now - began)
        self._turned(self.breaker.good(generation, now))
        return found

    def _failed(self, operation: Operation, result: Result, began: float, generation: int) -> None:
        now = self._clock.now()
        self._heard.asked(operation, result, now - began)
        if result == "timeout":
            self._failure = f"no answer within {self.timeout_s * 1_000:g} ms"
        self._turned(self.breaker.bad(1.0, generation, result, now=now, rng=self._rng))

    def _turned(self, transition: Transition | None) -> None:
        if transition is None:
            return
        if transition.to == "open" and transition.reason not in STILL_OUT:
            what = "each gate goes on by itself: with its part of the rate limits, and without the shared cache"
            self._tell("shared store out", "warning", {"why": self._failure, "what": what})
        elif transition.to == "closed":
            self._back_at = self._clock.now()
            self._tell("shared store back", "info", {})


async def _ping(store: Store) -> None:
    await store.ping()
