"""The gates of runs, asked from another process: both ends of what `gate_messages` declares.

A worker knows none of the runs that go to the others, so every call of a gated pool asks the one desk there is and
waits for its word: one message each way, beside calls that take seconds. What a dead worker had let in is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from policies.gate_line import Ask
from proxy.errors import ProxyError
from proxy.execution.gate_desk import GateDesk, Pass
from proxy.tasks import Tasks
from proxy.workers.gate_messages import Entering, KeptOut, LetIn, Over, Unwanted


class RemoteDesk:
    """The worker's end; the numbers of its passes are those of its questions."""

    def __init__(self, send: Callable[[Struct], None]) -> None:
        self._send = send
        self._asked: dict[int, asyncio.Future[Pass]] = {}
        self._numbers = 0

    def __repr__(self) -> str:
        return f"RemoteDesk({len(self._asked)} asked)"

    async def enter(self, pool: str, ask: Ask, left_s: float) -> Pass:
        self._numbers += 1
        number = self._numbers
        answer: asyncio.Future[Pass] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._send(Entering(number, pool, ask, left_s))
        try:
            return await answer
        except asyncio.CancelledError:
            self._send(Unwanted(number))
            raise
        finally:
            self._asked.pop(number, None)

    def ended(self, number: int, *, input_tokens: int, cached_tokens: int | None) -> None:
        self._send(Over(number, input_tokens, cached_tokens))

    def killed(self, number: int) -> None:
        self._send(Over(number, 0, None, killed=True))

    def hear(self, message: LetIn | KeptOut) -> None:
        answer = self._asked.get(message.request)
        if answer is None or answer.done():
            return  # its call was cancelled, and has said so
        if isinstance(message, LetIn):
            answer.set_result(Pass(message.request, message.said))
        else:
            answer.set_exception(message.error())

    def close(self, error: ProxyError) -> None:
        """Nobody will answer any more."""
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(error)


class Clerk:
    """The other end: what one worker asks of the desk."""

    def __init__(self, desk: GateDesk, tasks: Tasks, send: Callable[[Struct], None]) -> None:
        self._desk = desk
        self._tasks = tasks
        self._send = send
        self._asking: dict[int, asyncio.Task[None]] = {}
        self._passes: dict[int, int] = {}  # the desk's numbers, by the worker's

    def __repr__(self) -> str:
        return f"Clerk({len(self._asking)} wait, {len(self._passes)} passes)"

    def hear(self, message: Entering | Unwanted | Over) -> None:
        match message:
            case Entering():
                self._asking[message.request] = self._tasks.start("gate", self._enter(message))
            case Over() if message.killed:
                self._desk.killed(self._passes.pop(message.request, 0))
            case Over():
                number = self._passes.pop(message.request, 0)
                self._desk.ended(number, input_tokens=message.input_tokens, cached_tokens=message.cached_tokens)
            case Unwanted():
                self._withdraw(message.request)

    def close(self) -> None:
        """The worker is dead."""
        for request in [*self._asking, *self._passes]:
            self._withdraw(request)

    def _withdraw(self, request: int) -> None:
        task = self._asking.pop(request, None)
        if task is not None:
            task.cancel()
        self._desk.ended(self._passes.pop(request, 0), input_tokens=0, cached_tokens=None)

    async def _enter(self, asked: Entering) -> None:
        answer: LetIn | KeptOut
        number = 0
        try:
            given = await self._desk.enter(asked.pool, asked.ask, asked.left_s)
            number, answer = given.number, LetIn(asked.request, given.said)
        except ProxyError as error:
            answer = KeptOut(asked.request, error.code, error.message, error.retry_after_s)
        if self._asking.pop(asked.request, None) is None:  # it was withdrawn in the same moment
            self._desk.ended(number, input_tokens=0, cached_tokens=None)
            return
        if number:
            self._passes[asked.request] = number
        self._send(answer)
