"""One place for a worker, as the supervisor sees it: its process, its channel, its leases, what it has settled.

A slot outlives its workers. What one of them left open when it died is read from the slot's journal before the next
begins: settlements that never arrived are booked, holds without an end are charged by their last mark, or in full,
since nobody knows what became of their calls. Only then is the rest of its leases anyone's again.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec import Raw, Struct, msgpack

from proxy.execution.gate_desk import GateDesk
from proxy.execution.trials import Tell
from proxy.money.holds import HoldRecord, expired, holds
from proxy.money.lease_messages import Asking, Feeling, Withdrawn
from proxy.state import fold
from proxy.state.events import change, charged
from proxy.state.journal import Journal
from proxy.state.ledger import Ledger
from proxy.tasks import Tasks
from proxy.telemetry.log import Note
from proxy.telemetry.merging import Merger
from proxy.telemetry.metrics import Metrics
from proxy.types import Charge
from proxy.workers.channel import Channel
from proxy.workers.gate_messages import Entering, Over, Unwanted
from proxy.workers.gates import Clerk
from proxy.workers.lender import Bank, Lender
from proxy.workers.messages import (
    Acknowledged,
    Beat,
    Done,
    Failed,
    GaveBack,
    Heard,
    Heeded,
    Labelled,
    Linked,
    Looked,
    Prepared,
    Ready,
    Renewing,
    Sampled,
    Settled,
    Stocked,
    Surveyed,
    Told,
    Upward,
)
from proxy.workers.settlements import SETTLED

BOOT = "import sys; sys.path[:] = {path!r}; from proxy.workers.process import main; main({channel}, {listening})"

R = TypeVar("R")
Reply = Done | Looked | Surveyed | Stocked | Heeded


class Shared(Struct, frozen=True):
    """What all slots share."""

    bank: Bank
    ledger: Ledger
    merger: Merger
    metrics: Metrics
    listening: socket.socket
    failed: Callable[[int, str], None]  # a worker that cannot serve, and why
    linked: Callable[[int, Linked], None]
    labelled: Callable[[int, Labelled], None]
    sampled: Tell
    told: Callable[[Note], None]  # an event that a worker has written to the log
    gates: GateDesk
    tasks: Tasks


class Slot:
    def __init__(self, number: int, journal: Path, shared: Shared) -> None:
        self.number = number
        self.ready = asyncio.Event()
        self.in_flight = 0
        self.silent = 0  # seconds, by the supervisor's own count
        self._drift_usd_nanos = 0
        self._shared = shared
        self._journal = journal
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel[Upward] | None = None
        self._lender = Lender(shared.bank, self.send)
        self._clerk = Clerk(shared.gates, shared.tasks, self.send)
        self._settled = 0  # the last of this worker's settlements that was booked
        self._unconfirmed: deque[tuple[int, int]] = deque()  # a row of the ledger, and the settlement it is of
        self._prepared: dict[str, asyncio.Future[str | None]] = {}
        self._has: str | None = None  # the version that stands ready in the worker
        self._replies: dict[int, asyncio.Future[Reply | None]] = {}
        self._lost = asyncio.Event()

    def __repr__(self) -> str:
        return f"Slot({self.number}, pid={self.pid}, ready={self.ready.is_set()}, {self._lender!r})"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def send(self, message: Struct | Raw) -> None:
        if self._channel is not None:
            self._channel.send(message)

    async def live(self, welcome: Callable[[], Struct]) -> None:
        """One worker from its birth to the end of what it left."""
        self._lender = Lender(self._shared.bank, self.send)
        self._lost, self._settled, self.silent = asyncio.Event(), 0, 0
        ours, theirs = socket.socketpair()
        try:
            self._process = await _spawn(self.number, theirs, self._shared.listening)
        finally:
            theirs.close()
        self._channel = Channel(msgpack.Decoder(list[Upward]), self._hear, self._ended)
        await self._channel.connect(ours)
        self.send(welcome())
        await self._process.wait()
        await self._lost.wait()  # what it wrote is heard to the end
        self._process = self._channel = None
        await self._recover()

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def confirm(self) -> None:
        """Tells the worker which of its settlements are in the ledger."""
        waiting, on_disk, last = self._unconfirmed, self._shared.ledger.head.seq, 0
        while waiting and waiting[0][0] <= on_disk:  # ends: each turn takes one
            last = waiting.popleft()[1]
        if last:
            self.send(Acknowledged(last))

    async def prepare(self, version: str, prepare: Struct) -> str | None:
        """Why the worker cannot; one that dies over it begins again with whatever is in force then."""
        if self._channel is None:
            return None
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._prepared[version] = answer
        self.send(prepare)
        return await answer

    def has(self, version: str) -> bool:
        return self._has == version

    async def ask(self, number: int, question: Struct) -> Reply | None:
        """None: the worker is gone, and its calls with it."""
        if self._channel is None:
            return None
        answer: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._replies[number] = answer
        self.send(question)
        return await answer

    # --- what the worker says ----------------------------------------------------------------------------------------

    def _hear(self, message: Upward) -> None:
        self.silent = 0
        match message:
            case Settled():
                self._book(message)
            case Asking():
                self._lender.ask(message)
            case GaveBack():
                self._lender.give_back(message.returned)
            case Renewing():
                self._lender.renew(message.wanted)
            case Beat():
                self.in_flight = message.in_flight
                # Spend by the worker's metrics: what it has handed over, and by how much its own count differs.
                self._shared.metrics.spent_usd_nanos += message.drift_usd_nanos - self._drift_usd_nanos
                self._drift_usd_nanos = message.drift_usd_nanos
                self._shared.merger.add(self.number, message.metrics)
                self.send(Heard(message.sent_at, self._shared.ledger.accepting))
            case _:
                self._note(message)

    def _note(self, message: Upward) -> None:
        match message:
            case Entering() | Unwanted() | Over():
                self._clerk.hear(message)
            case Feeling():
                self._lender.feel(message)
            case Withdrawn():
                self._lender.withdraw(message.request)
            case Ready():
                self.ready.set()
            case Failed():
                self._shared.failed(self.number, message.why)
            case Prepared():
                self._has = message.version if message.why is None else None
                _answer(self._prepared.pop(message.version, None), message.why)
            case Done() | Looked() | Surveyed() | Stocked() | Heeded():
                _answer(self._replies.pop(message.number, None), message)
            case Linked():
                self._shared.linked(self.number, message)
            case Labelled():
                self._shared.labelled(self.number, message)
            case Sampled():
                self._shared.sampled(message.experiment, message.sample)
            case Told():
                fields = {"worker": self.number, **message.fields}
                self._shared.told(Note(message.name, message.level, fields, message.wall))

    def _book(self, settled: Settled) -> None:
        """In the accounts and in the ledger in one step, so that the two never differ."""
        if settled.seq <= self._settled:
            return
        self._settled = settled.seq
        charges = self._lender.settle(settled.used)
        ledger = self._shared.ledger
        ledger.append_entry(settled.entry)
        self._unconfirmed.append((ledger.appended_seq, settled.seq))
        self._shared.metrics.spent_usd_nanos += settled.entry.cost_usd_nanos
        if any(charge.overrun for charge in charges):
            self._overran(settled.entry.request_id, charges)

    def _overran(self, id: str, charges: tuple[Charge, ...]) -> None:
        """The worker could not know it when it made the row: a part of what was charged had no room."""
        over = [charge for charge in charges if charge.overrun]
        changes = tuple([change(each.period, spent=-each.overrun, overrun=each.overrun) for each in over])
        self._shared.ledger.append_event("adjust", id, {"why": "overrun", "changes": changes})
        self._shared.bank.budgets.recall(tuple([each.period.account for each in over]))

    def _ended(self) -> None:
        self.ready.clear()
        self._has = None
        for answer in self._prepared.values():
            _answer(answer, None)
        for reply in self._replies.values():
            _answer(reply, None)
        self._prepared.clear()
        self._replies.clear()
        self._lost.set()

    def recall(self, accounts: frozenset[str]) -> tuple[int, ...]:
        """The numbers of the leases that could be given back."""
        return self._lender.lending.numbers(accounts)

    # --- what a dead worker left -------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        records = list(Journal.read(self._journal))
        decoder = msgpack.Decoder(Upward)
        held = holds(records)
        for kind, payload in records:
            if kind == SETTLED and isinstance(settled := decoder.decode(payload), Settled):
                self._book(settled)
                held.pop(settled.entry.request_id, None)
        ended = await self._shared.ledger.query(partial(fold.ended, ids=held)) if held else set()
        for id, record in held.items():
            if id not in ended:
                self._expire(record)
        self._lender.close()
        self._clerk.close()
        self._shared.merger.forget(self.number)
        self.in_flight = self._drift_usd_nanos = 0
        self._unconfirmed.clear()
        await self._shared.ledger.flush()
        Journal.clear(self._journal)

    def _expire(self, record: HoldRecord) -> None:
        lending = self._lender.lending
        due = [(lending.number_of(period), amount) for period, amount in record.due()]
        charges = self._lender.settle(tuple([(number, amount) for number, amount in due if number is not None]))
        self._shared.ledger.append_event("expire", record.id, expired(record, charged(charges)))


async def _spawn(number: int, channel: socket.socket, listening: socket.socket) -> asyncio.subprocess.Process:
    """A fresh interpreter that imports what this one does; nothing but the two sockets is handed on."""
    code = BOOT.format(path=sys.path, channel=channel.fileno(), listening=listening.fileno())
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        f"headgate worker {number}",
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=(channel.fileno(), listening.fileno()),
    )


def _answer(future: asyncio.Future[R] | None, value: R) -> None:
    if future is not None and not future.done():
        future.set_result(value)
