"""One column of the demo: the agents at work, with one client each, and the tally of what they lived through.

A run fails with its first call that has no answer, and with a sub-agent that failed; the agent then goes on with its
next run. When the demo is told to stop, calls under way may end and no other begins.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct
from msgspec.json import encode

from proxy.clock import Clock
from proxy.demo.agents import Run, Step
from proxy.demo.client import Client, Failed, Reply

Ending = Literal["completed", "failed"]
PACE_S = 5.0  # calls per second are over the last so many
OUTPUT_TOKENS_MAX = 400


class Heard(Struct, frozen=True):
    """One call that has ended. Without a reply it has failed."""

    began_at: float  # an instant of the clock
    reply: Reply | None


class End(Struct, frozen=True):
    """Of a run."""

    ending: Ending
    at: float  # an instant of the clock


class Tally:
    """What a column's clients have seen. `ends` lacks the runs that have not ended."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.failed = 0
        self.in_flight = 0
        self.ends: dict[str, End] = {}
        self._ended_at: deque[float] = deque()

    def __repr__(self) -> str:
        return f"Tally({self.calls} calls, {self.failed} failed, {self.in_flight} in flight)"

    @property
    def calls(self) -> int:
        return len(self.heard)

    @property
    def first_tokens_s(self) -> list[float]:
        return [heard.reply.first_token_s for heard in self.heard if heard.reply is not None]

    @property
    def endings(self) -> dict[str, Ending]:
        return {run: end.ending for run, end in self.ends.items()}

    @property
    def completed(self) -> frozenset[str]:
        return frozenset(run for run, end in self.ends.items() if end.ending == "completed")

    def began(self) -> None:
        self.in_flight += 1

    def ended(self, now: float) -> None:
        """However it ended."""
        self.in_flight -= 1
        self._ended_at.append(now)

    def heard_of(self, began_at: float, reply: Reply | None) -> None:
        self.failed += reply is None
        self.heard.append(Heard(began_at, reply))

    def calls_a_second(self, now: float, began_at: float) -> float:
        while self._ended_at and self._ended_at[0] < now - PACE_S:
            self._ended_at.popleft()
        return len(self._ended_at) / min(PACE_S, max(now - began_at, 1.0))


class Message(Struct, frozen=True):
    role: str
    content: str


class Stopped(Exception):
    """The demo is being ended: this run stays as it is."""


class Fleet:
    def __init__(self, clients: Mapping[str, Client], *, clock: Clock, stopping: asyncio.Event) -> None:
        self.tally = Tally()
        self._clients = clients
        self._clock = clock
        self._stopping = stopping

    async def work(self, runs: tuple[Run, ...], began_at: float) -> None:
        """One agent, from its first run to its last."""
        try:
            for run in runs:
                await self._pause(began_at + run.begins_s - self._clock.now())
                await self._run(run)
        except Stopped:
            return

    async def _run(self, run: Run) -> None:
        try:
            await self._steps(run)
        except Failed:
            end = End("failed", self._clock.now())
            self.tally.ends |= {part.id: end for part in run.tree() if part.id not in self.tally.ends}
            return
        self.tally.ends[run.id] = End("completed", self._clock.now())

    async def _steps(self, run: Run) -> None:
        """Raises Failed, Stopped."""
        history = [Message("system", run.system)]
        for number, step in enumerate(run.steps, 1):
            history.append(Message("user", step.said))
            history.append(Message("assistant", await self._call(run, number, history)))
            await self._children(step)
            await self._pause(step.think_s)

    async def _children(self, step: Step) -> None:
        if not step.children:
            return
        ends = await asyncio.gather(*map(self._run, step.children), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end
        if any(self.tally.ends[child.id].ending == "failed" for child in step.children):
            raise Failed

    async def _call(self, run: Run, number: int, history: list[Message]) -> str:
        if self._stopping.is_set():
            raise Stopped
        tally, began_at = self.tally, self._clock.now()
        tally.began()
        try:
            reply = await self._clients[run.agent].ask(_body(run, history), _headers(run, number))
        except Failed:
            tally.heard_of(began_at, None)
            raise
        finally:
            tally.ended(self._clock.now())
        tally.heard_of(began_at, reply)
        return reply.text

    async def _pause(self, seconds: float) -> None:
        """Raises Stopped when the demo is over first."""
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()
            except TimeoutError:
                return
        if self._stopping.is_set():
            raise Stopped


def _body(run: Run, history: list[Message]) -> bytes:
    return encode(
        {
            "model": run.model,
            "messages": history,
            "max_tokens": OUTPUT_TOKENS_MAX,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )


def _headers(run: Run, number: int) -> dict[str, str]:
    headers = {"X-Headgate-Run": run.id, "X-Headgate-Step": str(number)}
    if run.parent is not None:
        headers |= {"X-Headgate-Parent-Run": run.parent, "X-Headgate-Depth": "1"}
    return headers
