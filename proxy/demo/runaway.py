"""An agent that has gone wrong: it asks again and again, always with more, and does not stop by itself.

Both columns have one. Through the gate it has a budget, and ends with the refusal it hears; direct, whoever watches has
to stop it. What it does is counted apart: that it is refused is no failure of a column.
"""

from __future__ import annotations

import asyncio

from msgspec import Struct
from msgspec.json import encode

from proxy.clock import Clock
from proxy.demo.agents import text
from proxy.demo.client import Client, Failed
from proxy.demo.fleet import OUTPUT_TOKENS_MAX, Message, Tally
from proxy.demo.story import Story
from proxy.providers.simulated_answer import Draw

AGENT = "runaway"
RUN = "runaway-1"
MODEL = "sim-large"
BUDGET_USD = "0.02"
BUDGET_USD_NANOS = 20_000_000
LOOPS = 3  # side by side, in one run: a limit that is only looked at would be overrun by them
CALLS_MAX = 10_000


class Rampage(Struct, frozen=True):
    """What it came to in one column."""

    calls: int
    usd_nanos: int  # by its providers' invoices
    refused: str | None  # the error code that ended it; None: it was stopped by hand
    refused_at_s: float | None  # since the story began


class Runaway:
    def __init__(self, client: Client, seed: int, *, clock: Clock, stopping: asyncio.Event) -> None:
        self.tally = Tally()
        self.refused: str | None = None
        self.refused_at: float | None = None  # an instant of the clock
        self.over = asyncio.Event()  # it was refused, or has ended
        self._client = client
        self._seed = seed
        self._clock = clock
        self._stopping = stopping

    def __repr__(self) -> str:
        return f"Runaway({self.tally.calls} calls, refused {self.refused})"

    @property
    def answered(self) -> int:
        return self.tally.calls - self.tally.failed

    async def run(self, story: Story, began_at: float) -> None:
        """From its hour to its end."""
        await self._pause(began_at + story.runaway.begins_s - self._clock.now())
        ends_at = began_at + story.runaway.ends_s
        await asyncio.gather(*[self._loop(number, ends_at) for number in range(LOOPS)])
        self.over.set()

    async def _loop(self, number: int, ends_at: float) -> None:
        draw = Draw(f"{self._seed}:runaway:{number}".encode())
        history = [Message("system", text(draw, 2_000, 4_000))]
        for _ in range(CALLS_MAX):
            if self.refused or self._stopping.is_set() or self._clock.now() >= ends_at:
                return
            history.append(Message("user", text(draw, 600, 1_200)))
            answer = await self._call(history)
            history.append(Message("assistant", answer))

    async def _call(self, history: list[Message]) -> str:
        """A provider's failure does not stop it; a refusal does."""
        began_at = self._clock.now()
        self.tally.began()
        try:
            reply = await self._client.ask(_body(history), {"X-Headgate-Run": RUN})
        except Failed as failed:
            self.tally.heard_of(began_at, None)
            if failed.code == "budget_exceeded" and self.refused is None:
                self.refused, self.refused_at = failed.code, self._clock.now()
                self.over.set()
            return ""
        finally:
            self.tally.ended(self._clock.now())
        self.tally.heard_of(began_at, reply)
        return reply.text

    async def _pause(self, seconds: float) -> None:
        """Shorter when the demo is ended early."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stopping.wait()
        except TimeoutError:
            return


def rampage(runaway: Runaway, usd_nanos: int, began_at: float) -> Rampage:
    at = runaway.refused_at
    return Rampage(
        calls=runaway.tally.calls,
        usd_nanos=usd_nanos,
        refused=runaway.refused,
        refused_at_s=None if at is None else round(at - began_at, 1),
    )


def _body(history: list[Message]) -> bytes:
    return encode(
        {
            "model": MODEL,
            "messages": history,
            "max_tokens": OUTPUT_TOKENS_MAX,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )
