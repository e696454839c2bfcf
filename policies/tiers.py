"""Calls of four priorities before one target: whose turn it is, and who gives way when too many wait.

A higher tier goes first; inside a tier agents share (`policies.fair_queue`). Whoever has been passed over for
`PATIENCE` calls gets the next place all the same, so the lowest tier is slowed down and never starved. Where one call
too many waits, the lowest tier gives way, and in it the agent with the most calls, its newest first: a flood displaces
itself.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar, get_args

from policies.fair_queue import FairQueue, Share
from policies.least_attained import Place
from proxy.types import Priority

TIERS: Final[dict[Priority, int]] = {priority: tier for tier, priority in enumerate(get_args(Priority))}
INTERACTIVE: Final = TIERS["interactive"]
PATIENCE: Final = 16  # calls of higher tiers between two of a lower one

T = TypeVar("T")


def lowered(own: Priority, wished: str | None) -> Priority:
    """What a request asks for, as far as it is below what its agent has; anything else changes nothing."""
    if wished is not None:
        for priority, tier in TIERS.items():
            if priority == wished.lower():
                return priority if tier > TIERS[own] else own
    return own


class Hold(Generic[T]):
    """What a call that runs has been counted by, until it ends."""

    __slots__ = ("cost", "queue", "share")

    def __init__(self, queue: FairQueue[T], share: Share[T], cost: float) -> None:
        self.queue = queue
        self.share = share
        self.cost = cost

    def __repr__(self) -> str:
        return f"Hold({self.share}, {self.cost:.0f})"

    def end(self, used: float) -> None:
        self.queue.end(self.share, self.cost, used)


class Tiers(Generic[T]):
    def __init__(self) -> None:
        self._queues: dict[int, FairQueue[T]] = {}  # by tier, once it was asked for
        self._passed = [0] * len(TIERS)  # calls that went before the first of a tier that waits

    def __repr__(self) -> str:
        return f"Tiers({self._queues}, passed over {self._passed})"

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def idle(self) -> bool:
        return all(queue.idle for queue in self._queues.values())

    def waiting(self, tier: int) -> int:
        """Of that tier and those above it."""
        return sum(len(queue) for each, queue in self._queues.items() if each <= tier)

    def ahead(self, agent: str, *, tier: int) -> int:
        """Calls that will go before one more of that agent and tier."""
        queue = self._queues.get(tier)
        newest_first = queue is not None and queue.newest_first
        return self.waiting(tier - 1) + (0 if queue is None or newest_first else queue.ahead(agent))

    def is_modest(self, agent: str, *, tier: int) -> bool:
        """Whether the agent has far fewer calls waiting than others of its tier."""
        queue = self._queues.get(tier)
        return queue is not None and queue.is_modest(agent)

    def turn_round(self, *, newest_first: bool) -> None:
        """Interactive calls: somebody sits in front of them, who has given up on the oldest. Others go by age."""
        if newest_first or INTERACTIVE in self._queues:
            self._queue(INTERACTIVE).newest_first = newest_first

    def add(self, ticket: T, agent: str, place: Place | None = None, *, tier: int) -> None:
        """`place`: among the calls of its agent; None: behind those that came before."""
        self._queue(tier).add(ticket, agent, place)

    def first(self, now: float = 0.0) -> T:
        """Of tiers that are not all empty. `now` is asked for where calls have places."""
        return self._queues[self.turn()].first(now)

    def take(self, cost: float, now: float = 0.0) -> Hold[T]:
        """The first one goes."""
        turn = self.turn()
        self._passed[turn] = 0
        for tier, queue in self._queues.items():
            if tier > turn and len(queue):
                self._passed[tier] += 1
        queue = self._queues[turn]
        return Hold(queue, queue.take(cost, now), cost)

    def remove(self, ticket: T, agent: str, *, tier: int) -> None:
        """It leaves, and has taken nothing."""
        queue = self._queues[tier]
        queue.remove(ticket, agent)
        if not len(queue):
            self._passed[tier] = 0

    def pass_by(self, agent: str, cost: float, *, tier: int) -> Hold[T]:
        """A call that need not wait."""
        queue = self._queue(tier)
        return Hold(queue, queue.pass_by(agent, cost), cost)

    def _queue(self, tier: int) -> FairQueue[T]:
        queue = self._queues.get(tier)
        if queue is None:
            queue = self._queues[tier] = FairQueue()
        return queue

    def turn(self) -> int:
        """The tier of the first one, where any wait."""
        waiting = sorted(tier for tier, queue in self._queues.items() if len(queue))
        return next((tier for tier in waiting if self._passed[tier] >= PATIENCE), waiting[0])


class Crowd(Generic[T]):
    """All that wait in one process, wherever: who gives way when there are too many. `classes`: tiers, or finer."""

    def __init__(self, classes: int = len(TIERS)) -> None:
        self._tiers: tuple[dict[str, dict[T, None]], ...] = tuple({} for _ in range(classes))  # by agent, newest last
        self._all = 0

    def __repr__(self) -> str:
        return f"Crowd({[sum(map(len, agents.values())) for agents in self._tiers]})"

    def __len__(self) -> int:
        return self._all

    def add(self, ticket: T, agent: str, *, tier: int) -> None:
        self._tiers[tier].setdefault(agent, {})[ticket] = None
        self._all += 1

    def remove(self, ticket: T, agent: str, *, tier: int) -> None:
        agents = self._tiers[tier]
        del agents[agent][ticket]
        if not agents[agent]:
            del agents[agent]
        self._all -= 1

    def gives_way(self, agent: str, *, tier: int) -> T | None:
        """To one more call of that agent and tier. None: nobody, so that one may not wait."""
        lowest = max((each for each, agents in enumerate(self._tiers) if agents), default=0)
        if not self._all or lowest < tier:
            return None
        agents = self._tiers[lowest]
        most = max(agents.values(), key=len)
        if lowest == tier and len(most) <= len(agents.get(agent, ())) + 1:
            return None
        return next(reversed(most))
