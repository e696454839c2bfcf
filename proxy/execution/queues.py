"""The targets that somebody waits for: one queue each, those of one provider together, and all who wait in one crowd.

What one target of a provider gives back, its others may take; whose turn it is among them goes by priority, and else
round. Who gives way when too many wait is `policies.tiers`' word; when anybody may go, `permits`'.
"""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Generic, TypeVar

from policies.provider_limits import TargetLimits
from policies.tiers import TIERS, Crowd
from proxy.execution.line import Line, Ticket
from proxy.types import Target

T = TypeVar("T", bound=Ticket)


class Queue(Generic[T]):
    """The line before one target, and the timer that looks at it again. There is one while somebody waits."""

    __slots__ = ("line", "room", "target", "timer")

    def __init__(self, target: Target, room: TargetLimits, line: Line[T]) -> None:
        self.target = target
        self.room = room
        self.line = line
        self.timer: TimerHandle | None = None

    def __repr__(self) -> str:
        return f"Queue({self.target.id}, {self.line}, {self.room})"


class Queues(Generic[T]):
    def __init__(self) -> None:
        self._crowd: Crowd[T] = Crowd(2 * len(TIERS))  # in each tier, new runs stand below those that go on
        self._of: dict[str, dict[str, Queue[T]]] = {}  # by provider and target
        self.calls = 0  # that wait

    def __repr__(self) -> str:
        return f"Queues({self.calls} calls, {self._of})"

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(self._of)

    def has(self, target: Target) -> bool:
        return bool(self._of) and target.id in self._of.get(target.provider, {})

    def open(self, target: Target, room: TargetLimits, line: Line[T]) -> Queue[T]:
        queues = self._of.setdefault(target.provider, {})
        queue = queues.get(target.id)
        if queue is None:
            queue = queues[target.id] = Queue(target, room, line)
        return queue

    def add(self, ticket: T, queue: Queue[T]) -> None:
        self.calls += 1
        self._crowd.add(ticket, ticket.agent, tier=ticket.rank)
        queue.line.add(ticket)

    def remove(self, ticket: T, queue: Queue[T]) -> None:
        """It leaves."""
        queue.line.remove(ticket)
        self.gone(ticket)

    def gone(self, ticket: T) -> None:
        """Its line let it go."""
        self.calls -= 1
        self._crowd.remove(ticket, ticket.agent, tier=ticket.rank)

    def close(self, queue: Queue[T]) -> None:
        """Nobody stands in it any more."""
        queues = self._of.get(queue.target.provider)
        if queues is not None:
            queues.pop(queue.target.id, None)
            if not queues:
                del self._of[queue.target.provider]

    def in_turn(self, provider: str) -> list[Queue[T]]:
        queues = self._of.get(provider)
        if not queues:
            return []
        first = next(iter(queues))
        queues[first] = queues.pop(first)  # none of them is always the first
        return sorted(queues.values(), key=lambda queue: queue.line.tier)

    def gives_way(self, ticket: Ticket) -> T | None:
        """To one more. None: nobody, so that one may not wait."""
        return self._crowd.gives_way(ticket.agent, tier=ticket.rank)
