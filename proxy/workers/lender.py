"""The owner's side of one worker's leases: what it asks for, gives back and uses up, done to the accounts.

A question is a call's own: it waits in the same lines as everyone's, and its answer is lent to the slot that asked.
Once the worker is dead, what it never settled is settled here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from policies.accounts import Hold
from policies.leases import Returned, Used, Wanted
from policies.lending import Lending
from policies.limits import Crossing, Instant
from policies.refusal import budget_exceeded
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.holds import Left, Reservation
from proxy.money.budgets import Budgets
from proxy.money.lease_messages import Asking, Feeling, Felt, Granted, Refused
from proxy.tasks import Tasks
from proxy.types import Amounts, Charge
from proxy.workers.messages import Renewed


class Listener(Protocol):
    """Is told what people want to know of budgets. Must not wait."""

    def crossed(self, crossing: Crossing) -> None: ...

    def overran(self, charge: Charge) -> None: ...

    def charged(self, charges: tuple[Charge, ...]) -> None: ...


class Bank(Struct, frozen=True):
    """What all lenders share: the accounts and who is told of them."""

    budgets: Budgets
    clock: Clock
    tasks: Tasks
    listener: Listener
    slots: int


class Lender:
    def __init__(self, bank: Bank, send: Callable[[Struct], None]) -> None:
        self.lending = Lending(bank.budgets.accounts, slots=bank.slots)
        self._bank = bank
        self._send = send
        self._asking: dict[int, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"Lender({self.lending!r}, asking={len(self._asking)})"

    # --- what the worker says ----------------------------------------------------------------------------------------

    def ask(self, asking: Asking) -> None:
        if not asking.waits:
            self._answer(asking, self._now(asking), None)
            return
        task = self._bank.tasks.start("hold", self._decide(asking))
        self._asking[asking.request] = task

    def feel(self, feeling: Feeling) -> None:
        self._send(Felt(feeling.path, self._bank.budgets.pressure(feeling.path)))

    def withdraw(self, request: int) -> None:
        task = self._asking.pop(request, None)
        if task is not None:
            task.cancel()

    def give_back(self, returned: tuple[Returned, ...]) -> None:
        self._bank.budgets.released(self.lending.take_back(returned))

    def renew(self, wanted: tuple[Wanted, ...]) -> None:
        self._send(Renewed(self.lending.renew(wanted, self._bank.clock.wall())))

    def settle(self, used: tuple[Used, ...]) -> tuple[Charge, ...]:
        posting = self.lending.settle(used)
        listener = self._bank.listener
        for crossing in posting.crossings:
            listener.crossed(crossing)
        for charge in posting.overruns:
            listener.overran(charge)
        if posting.charges:
            listener.charged(posting.charges)
        return posting.charges

    def close(self) -> None:
        """The worker is dead, and everything it had to settle is settled."""
        for task in self._asking.values():
            task.cancel()
        self._asking.clear()
        self._bank.budgets.released(self.lending.close())

    # --- deciding ----------------------------------------------------------------------------------------------------

    async def _decide(self, asking: Asking) -> None:
        left: list[int | None] = []  # as often as the accounts asked

        def ask(room: Left) -> Amounts:
            left.append(room.usd_nanos)
            return _sized(asking, room.usd_nanos)

        answer = await self._bank.budgets.reserve(asking.id, asking.path, ask, ttl_s=asking.ttl_s)
        if self._asking.pop(asking.request, None) is None:
            if isinstance(answer, Reservation):  # the worker has withdrawn, or died, in the same moment
                self._bank.budgets.void(answer)
            return
        self._answer(asking, answer, left[-1])

    def _now(self, asking: Asking) -> Hold | ProxyError:
        """The raise of a hold does not wait for others."""
        bank = self._bank
        at = Instant(bank.clock.now(), bank.clock.wall())
        answer = bank.budgets.accounts.reserve(
            asking.id, asking.path, ask=lambda room: asking.most, at=at, ttl_s=asking.ttl_s
        )
        return answer if isinstance(answer, Hold) else budget_exceeded(answer)

    def _answer(self, asking: Asking, answer: Reservation | Hold | ProxyError, left: int | None) -> None:
        if isinstance(answer, ProxyError):
            said = Refused(
                asking.request,
                answer.code,
                answer.message,
                answer.status,
                answer.retry_after_s,
                dict(answer.details),
            )
            self._send(said)
            return
        lent = self.lending.lend(asking.id, {wanted.number: wanted for wanted in asking.wanted})
        budgets = self._bank.budgets
        path = asking.path
        self._send(Granted(asking.request, lent, left, budgets.left(path).usd_nanos, budgets.pressure(path)))


def _sized(asking: Asking, left: int | None) -> Amounts:
    """What is left pays less than the most: the worker will size its hold to fit, and return the rest."""
    if left is None or left >= asking.most.usd_nanos:
        return asking.most
    if left <= asking.least.usd_nanos:
        return asking.least
    soft = asking.most.soft_usd_nanos
    return replace(asking.most, usd_nanos=left, soft_usd_nanos=None if soft is None else min(soft, left))
