"""Who is next of those that wait for one target: the agents in turn, by what their calls take and not by their number.

Deficit round robin (Shreedhar and Varghese, 1995) on cost units: each round is worth a quantum to every agent that
waits. Agents of one round go in turn, call by call; who has used up the quantum goes on in the next round, and who has
taken more than that sits out the rounds that it has taken ahead. A call counts by what it is expected to take, and by
what it took once it has ended. Who comes back is lifted to what the one whose turn it is has really taken, so that
nobody saves up by staying away (the virtual token counter of Sheng et al., OSDI 2024), and nobody is lifted by what
others are only expected to take, which they may get back. So of two agents that both have calls waiting, neither gets
further ahead than a quantum and the calls that run for it, however many it sends. It knows no clock and no priorities.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Final, Generic, TypeVar

from policies.least_attained import LeastAttained, Place

QUANTUM: Final = 20_000.0  # cost units: about one long call, so that a round is not decided by an estimate's error
SHARES_MAX: Final = 1_024  # names of agents may come from clients
EXAMINED_MAX: Final = 8

T = TypeVar("T")


class Share(Generic[T]):
    """What one agent has taken of one target, and its calls that wait there."""

    __slots__ = ("agent", "counter", "expected", "round", "running", "waiting")

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.counter = 0.0  # cost units, and what it was lifted by
        self.expected = 0.0  # the part of it that running calls have not taken yet
        self.round = 0  # that it waits in
        self.running = 0  # calls
        self.waiting: LeastAttained[T] = LeastAttained()

    @property
    def taken(self) -> float:
        """Without what is only expected."""
        return self.counter - self.expected

    def __repr__(self) -> str:
        return f"Share({self.agent!r}, {self.counter:.0f}, {self.running} running, {len(self.waiting)} waiting)"


class FairQueue(Generic[T]):
    def __init__(self, quantum: float = QUANTUM, shares_max: int = SHARES_MAX) -> None:
        self.newest_first = False  # inside a share: in an overload, who came last has the most time left
        self._quantum = quantum
        self._max = shares_max
        self._shares: OrderedDict[str, Share[T]] = OrderedDict()  # that have something running, waiting or owing
        self._rounds: dict[int, dict[Share[T], None]] = {}  # those that wait, in the order of their turns
        self._level = 0.0  # where the last one stood that went
        self._running = 0
        self._waiting = 0

    def __repr__(self) -> str:
        return f"FairQueue({self._waiting} waiting, {self._running} running, {list(self._shares.values())})"

    def __len__(self) -> int:
        """Calls that wait."""
        return self._waiting

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._running

    # --- calls that wait -----------------------------------------------------------------------------------------

    def add(self, ticket: T, agent: str, place: Place | None = None) -> None:
        """`place`: among the calls of its agent; None: behind those that came before."""
        share = self._arrived(agent)
        share.waiting.add(ticket, place)
        self._waiting += 1
        if len(share.waiting) == 1:
            self._file(share)

    def first(self, now: float = 0.0) -> T:
        """Of a queue that is not empty."""
        waiting = self._next().waiting
        return waiting.newest() if self.newest_first else waiting.first(now)

    def ahead(self, agent: str) -> int:
        """Calls that will go before one more of that agent: of every agent, about as many as it has itself."""
        return min(self._waiting, self._agents * (self._waiting_of(agent) + 1))

    def is_modest(self, agent: str) -> bool:
        """Whether it would have, with one call more, at most half as many waiting as the average agent."""
        return 2 * self._agents * (self._waiting_of(agent) + 1) <= self._waiting

    def take(self, cost: float, now: float = 0.0) -> Share[T]:
        """The first one goes."""
        share, first = self._next(), self.first(now)
        self._unfile(share)
        share.waiting.remove(first)
        self._waiting -= 1
        self._charge(share, cost)
        if share.waiting:
            self._file(share)  # behind the others of its round
        return share

    def remove(self, ticket: T, agent: str) -> None:
        """It leaves, and has taken nothing."""
        share = self._shares[agent]
        share.waiting.remove(ticket)
        self._waiting -= 1
        if not share.waiting:
            self._unfile(share)
            self._forget(share)

    # --- calls that run ------------------------------------------------------------------------------------------

    def pass_by(self, agent: str, cost: float) -> Share[T]:
        """A call that need not wait: it counts all the same."""
        share = self._arrived(agent)
        self._charge(share, cost)
        return share

    def end(self, share: Share[T], cost: float, used: float) -> None:
        """A call that was expected to take `cost` has ended, and has taken `used`."""
        share.running -= 1
        self._running -= 1
        share.expected = share.expected - cost if share.running else 0.0
        share.counter += used - cost
        if share.waiting and share.round != self._round_of(share):
            self._unfile(share)
            self._file(share)
        self._forget(share)

    def _charge(self, share: Share[T], cost: float) -> None:
        self._level = max(self._level, share.taken)
        share.counter += cost
        share.expected += cost
        share.running += 1
        self._running += 1

    # --- agents --------------------------------------------------------------------------------------------------

    def _arrived(self, agent: str) -> Share[T]:
        share = self._shares.get(agent)
        if share is None:
            if len(self._shares) >= self._max:
                self._forget_oldest()
            share = self._shares[agent] = Share(agent)
        if not share.waiting:
            share.counter = max(share.counter, self._next().taken if self._waiting else self._level)
        return share

    def _forget(self, share: Share[T]) -> None:
        """Whoever would be lifted anyway; and what anybody owes, once the target has had time for all."""
        if self.idle:
            self._shares.clear()
            self._level = 0.0
        elif not share.waiting and not share.running and share.counter <= self._level:
            self._shares.pop(share.agent, None)

    def _forget_oldest(self) -> None:
        """Those that have calls here stay; there are no more of them than calls."""
        for agent, share in list(islice(self._shares.items(), EXAMINED_MAX)):
            if share.waiting or share.running:
                self._shares.move_to_end(agent)
            else:
                del self._shares[agent]

    @property
    def _agents(self) -> int:
        """That have calls waiting."""
        return sum(map(len, self._rounds.values()))

    def _waiting_of(self, agent: str) -> int:
        share = self._shares.get(agent)
        return 0 if share is None else len(share.waiting)

    # --- turns ---------------------------------------------------------------------------------------------------

    def _next(self) -> Share[T]:
        return next(iter(self._rounds[min(self._rounds)]))  # agents that wait are a quantum apart: few rounds

    def _round_of(self, share: Share[T]) -> int:
        return int(share.counter // self._quantum)

    def _file(self, share: Share[T]) -> None:
        share.round = self._round_of(share)
        self._rounds.setdefault(share.round, {})[share] = None

    def _unfile(self, share: Share[T]) -> None:
        shares = self._rounds[share.round]
        del shares[share]
        if not shares:
            del self._rounds[share.round]
