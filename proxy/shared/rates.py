"""The rate limits that several gates count together: who asks the store, and when.

A call that what is in hand suffices for asks nobody. The others are asked for together, one question at a time, each
call granted whole or not at all; whoever is granted has taken it before anyone else can. A slice that runs low is
filled before a call has to wait for it; what was owed is told, and what lies idle given back, once a second. Without an
answer, twice, a call is granted from this process's own part or refused (`policies.shared_rate`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

from msgspec import Struct

from policies.rate_limit import Account
from policies.shared_rate import Ask, Part, Slice, grant_alone, parts
from proxy.clock import Clock
from proxy.money.rate_limits import Quota
from proxy.shared.grant import SCRIPT, arguments, keys, told
from proxy.shared.link import Link, OutError
from proxy.state.shared_store import Order, Store
from proxy.tasks import Tasks

CALLS_MAX: Final = 64  # in one question
TRIES: Final = 2
SETTLED_MAX: Final = 256  # in one round; nobody is asked for meanwhile
ROUND_EACH: Final = 4 * SETTLED_MAX  # one round more in a beat for so many that wait, so a flood of names is no backlog
SETTLED_EACH: Final = 16  # by one script: nobody else is served while it runs


class _Asking(Struct):
    """One call that waits for the store."""

    quota: Quota
    turn: asyncio.Future[bool]
    tries: int = 0


Question = list[tuple[Slice, Ask]]
"""What is asked of one call's limits, or of slices alone."""


class SharedRates:
    """Implements `rate_limits.Common`."""

    def __init__(self, link: Link, clock: Clock, tasks: Tasks, prefix: str) -> None:
        self._link = link
        self._clock = clock
        self._tasks = tasks
        self._prefix = prefix
        self._waiting: deque[_Asking] = deque()  # bounded by the calls that are served
        self._asked: list[_Asking] = []  # of them, those whose question is under way
        self._low: dict[str, Slice] = {}
        self._moved: dict[str, Slice] = {}  # not settled, as far as is known
        self._asks = False
        self._one_by_one = asyncio.Lock()  # what was told of a slice must be confirmed before it is told of again
        self._known = False  # the store has answered here before: one that knows nothing any more was emptied

    def __repr__(self) -> str:
        return f"SharedRates({len(self._waiting)} waiting, {len(self._moved)} slices)"

    async def ask(self, quota: Quota) -> bool:
        """Whether it has been taken."""
        now = self._clock.now()
        of_call = parts(quota.accounts, quota.tokens)
        if any(each.dry(amount, now) for each, amount in of_call):
            return False
        if not self._link.settled:
            return self._alone(quota, of_call)
        asking = _Asking(quota, asyncio.get_running_loop().create_future())
        self._waiting.append(asking)
        self._begin()
        return await asking.turn

    def moved(self, accounts: Sequence[Account]) -> None:
        """Something was taken there, or corrected."""
        now = self._clock.now()
        for each, _ in parts(accounts, 0):
            self._moved[each.name] = each
            if each.low and each.again_at <= now and self._link.settled:
                self._low[each.name] = each
        if self._low:
            self._begin()

    async def greet(self) -> None:
        """Connects and leaves the script there, before a call has to wait for either."""
        async with self._one_by_one:
            await self._put([[]])

    async def close(self) -> None:
        """Everything goes back."""
        for _ in range(len(self._moved) // SETTLED_MAX + 1):
            await self._round(all_of_it=True)

    async def settle(self) -> None:
        """Tells what is owed, gives back what is idle."""
        for _ in range(len(self._moved) // ROUND_EACH + 1):
            if not await self._round(all_of_it=False):
                return

    async def _round(self, *, all_of_it: bool) -> bool:
        """`all_of_it`: what is not idle, too. False: the store is out."""
        async with self._one_by_one:
            questions = self._to_settle(self._clock.now(), all_of_it=all_of_it)
            return not questions or await self._put(questions)

    def _to_settle(self, now: float, *, all_of_it: bool) -> list[Question]:
        questions: list[Question] = []
        question: Question = []
        for each in list(islice(self._moved.values(), SETTLED_MAX)):
            del self._moved[each.name]
            if (ask := each.settle(now, all_of_it=all_of_it)) is not None:
                question.append((each, ask))
                if len(question) == SETTLED_EACH:
                    questions.append(question)
                    question = []
            if not each.settled:
                self._moved[each.name] = each  # behind those that were not looked at
        if question:
            questions.append(question)
        return questions

    # --- one question at a time --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._asks:
            self._asks = True
            self._tasks.start("rate limits", self._pump())

    async def _pump(self) -> None:
        """Ends when nobody waits; each turn serves some, or gives up on all."""
        try:
            while self._waiting or self._low:
                await self._turn()
        finally:
            self._asks = False
            for asking in (*self._asked, *self._waiting):
                if not asking.turn.done():
                    asking.turn.set_result(False)
            self._asked, self._waiting = [], deque()

    async def _turn(self) -> None:
        async with self._one_by_one:
            self._asked, questions = self._to_ask(self._clock.now())
            answered = bool(questions) and await self._put(questions)
        for asking in self._asked:
            self._serve(asking, answered)
        self._asked = []
        for question in questions:
            for each, _ in question:
                each.spill()

    def _to_ask(self, now: float) -> tuple[list[_Asking], list[Question]]:
        """Of the calls that wait, in their order; then of the slices that run low."""
        asked: list[_Asking] = []
        questions: list[Question] = []
        while self._waiting and len(asked) < CALLS_MAX:
            asking = self._waiting.popleft()
            if asking.turn.done():  # its client has left
                continue
            if asking.quota.take():  # what was fetched for others is enough
                asking.turn.set_result(True)
                continue
            asking.tries += 1
            asked.append(asking)
            of_call = parts(asking.quota.accounts, asking.quota.tokens)
            questions.append([(each, each.ask(amount, now)) for each, amount in of_call])
        low = [each for each in self._low.values() if each.low and not each.promised]
        self._low.clear()
        return asked, questions + [[(each, each.ask(0, now))] for each in low]

    def _serve(self, asking: _Asking, answered: bool) -> None:
        if asking.turn.done():  # served, or its client has left
            return
        if asking.quota.take():
            asking.turn.set_result(True)
        elif answered:
            asking.turn.set_result(False)
        elif asking.tries < TRIES and self._link.settled:
            self._waiting.append(asking)
        else:
            of_call = parts(asking.quota.accounts, asking.quota.tokens)
            asking.turn.set_result(self._alone(asking.quota, of_call))

    async def _put(self, questions: Sequence[Question]) -> bool:
        """Whether the store has answered; what it said has been noted."""
        orders = [self._order([ask for _, ask in question]) for question in questions]
        try:
            replies = await self._link.ask("rates", lambda store: _run(store, orders))
        except OutError:
            for question in questions:
                for each, _ in question:
                    each.unheard()
                    self._moved[each.name] = each
            return False
        now, self._known = self._clock.now(), True
        for question, reply in zip(questions, replies, strict=True):
            for (each, ask), word in zip(question, told(reply), strict=True):
                each.heard(ask, word, now)
                self._moved[each.name] = each
        return True

    def _order(self, asks: Sequence[Ask]) -> Order:
        return keys(self._prefix, asks), arguments(asks, known=self._known, late_s=self._link.timeout_s)

    def _alone(self, quota: Quota, of_call: Sequence[Part]) -> bool:
        return grant_alone(of_call, self._link.out_since, self._clock.now()) and quota.take()


async def _run(store: Store, orders: Sequence[Order]) -> list[list[int]]:
    return await store.run(SCRIPT, orders)
