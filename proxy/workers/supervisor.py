"""Several workers behind one listening socket, seen as one: started together, kept alive, reloaded whole or not at all.

The socket is bound once and inherited, so a connection that waits for one process can be accepted by another, and none
is lost when one ends. A worker that dies is started again at once, with growing pauses if it dies young; one that says
nothing for long is killed before what was lent to it becomes anyone else's.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from proxy.assembly import Assembly
from proxy.caching.stock import Gone, Purge, Stock
from proxy.clock import Clock
from proxy.config.carried import carry
from proxy.config.load import Config
from proxy.desks.evidence import EvidenceDesk
from proxy.desks.experiments import ExperimentDesk
from proxy.execution.gate_desk import GateDesk
from proxy.execution.given import Word
from proxy.runs.registry import Applied, RunCommand, Runs, RunState
from proxy.state.ledger import Ledger
from proxy.state.target_report import Standing
from proxy.state.target_report import merged as over_all
from proxy.tasks import Tasks
from proxy.telemetry.log import RequestLog
from proxy.telemetry.merging import Merger
from proxy.telemetry.metrics import Metrics
from proxy.workers.lender import Bank
from proxy.workers.messages import (
    Command,
    Done,
    Heed,
    Heeded,
    Labelled,
    Linked,
    Look,
    Looked,
    Prepare,
    Recalled,
    Stocked,
    Stop,
    Survey,
    Surveyed,
    Swap,
    TakeStock,
    Welcome,
)
from proxy.workers.orphans import supervisor_lock
from proxy.workers.slot import Reply, Shared, Slot
from proxy.workers.states import merged

START_S: Final = 30.0
PREPARE_S: Final = 10.0
APPLY_S: Final = 5.0
CONFIRM_S: Final = 0.02
SILENT_S: Final = 30  # counted by the supervisor, so that its own pauses are nobody's silence
YOUNG_S: Final = 5.0
PAUSES_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
LAST_WORDS_S: Final = 8.0


class Household(Struct, frozen=True):
    """What a supervisor shares with its process."""

    assembly: Assembly
    clock: Clock
    log: RequestLog
    metrics: Metrics
    tasks: Tasks
    runs: Runs
    ledger: Ledger
    bank: Bank
    gates: GateDesk
    evidence: EvidenceDesk
    experiments: ExperimentDesk
    terminal: bool  # the form of the log


class Supervisor:
    def __init__(self, listening: socket.socket, house: Household) -> None:
        self._house = house
        self._listening = listening
        self._stopping = False
        self._kept: tuple[asyncio.Task[None], ...] = ()
        self._numbers = 0
        self._lock = supervisor_lock(house.assembly.config.data_dir)
        self._lock.acquire()
        shared = Shared(
            bank=house.bank,
            ledger=house.ledger,
            merger=Merger(house.metrics.table),
            metrics=house.metrics,
            listening=listening,
            failed=self._failed,
            linked=self._linked,
            labelled=self._labelled,
            sampled=house.experiments.keep,
            told=house.log.tell,
            gates=house.gates,
            tasks=house.tasks,
        )
        folder = house.assembly.config.data_dir
        self._slots = tuple(Slot(number, journal_of(folder, number), shared) for number in range(house.bank.slots))
        house.bank.budgets.recall = self._recall
        house.metrics.set("workers", house.bank.slots)

    def __repr__(self) -> str:
        return f"Supervisor({list(self._slots)})"

    @property
    def in_flight(self) -> int:
        return sum(slot.in_flight for slot in self._slots)

    async def start(self) -> None:
        """Returns when all serve, or after `START_S`: those that do not are still tried."""
        tasks = self._house.tasks
        self._kept = tuple([tasks.start(f"worker {slot.number}", self._keep(slot)) for slot in self._slots])
        tasks.start("confirm", self._confirm())
        tasks.start("silence", self._listen())
        with suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                await asyncio.gather(*[slot.ready.wait() for slot in self._slots])

    async def stop(self) -> None:
        """No new connections; calls that run may end within `limits.drain_s`."""
        self._stopping = True
        for slot in self._slots:
            slot.send(Stop())
        await self._ended(self._house.assembly.snapshot.limits.drain_s + LAST_WORDS_S)
        self.kill()
        await self._ended(LAST_WORDS_S)
        self._listening.close()
        self._lock.release()

    async def _ended(self, within_s: float) -> None:
        if self._kept:
            await asyncio.wait(self._kept, timeout=within_s)

    def kill(self) -> None:
        for slot in self._slots:
            slot.kill()

    # --- the configuration -------------------------------------------------------------------------------------------

    async def prepare(self, config: Config) -> str | None:
        """All workers make it and none uses it yet. Returns why one of them cannot."""
        message = Prepare(config.version, carry(config))
        try:
            async with asyncio.timeout(PREPARE_S):
                answers = await asyncio.gather(*[slot.prepare(config.version, message) for slot in self._slots])
        except TimeoutError:
            return "a worker did not answer"
        return next((f"a worker cannot use it: {why}" for why in answers if why is not None), None)

    def swap(self, config: Config) -> None:
        """Who was born in between learns of it now."""
        for slot in self._slots:
            if not slot.has(config.version):
                slot.send(Prepare(config.version, carry(config)))
            slot.send(Swap(config.version))

    # --- runs --------------------------------------------------------------------------------------------------------

    async def apply(self, command: RunCommand) -> Applied:
        self._numbers += 1
        total = Applied()
        for reply in await self._ask_all(self._numbers, Command(self._numbers, command)):
            total = total.plus(reply.applied) if isinstance(reply, Done) else total
        return total

    async def look(self, runs: Sequence[str], named: str = "") -> list[RunState]:
        self._numbers += 1
        replies = await self._ask_all(self._numbers, Look(self._numbers, tuple(runs), named))
        return merged(state for reply in replies if isinstance(reply, Looked) for state in reply.states)

    async def survey(self) -> list[Standing]:
        self._numbers += 1
        replies = await self._ask_all(self._numbers, Survey(self._numbers))
        return over_all(each for reply in replies if isinstance(reply, Surveyed) for each in reply.standings)

    async def stock(self) -> Stock:
        return (await self._take_stock(None))[0]

    async def purge(self, purge: Purge) -> Gone:
        return (await self._take_stock(purge))[1]

    async def _take_stock(self, purge: Purge | None) -> tuple[Stock, Gone]:
        self._numbers += 1
        replies = await self._ask_all(self._numbers, TakeStock(self._numbers, purge))
        total, gone, shared = Stock(), Gone(), self._house.assembly.config.caches.persist
        for reply in replies:
            if isinstance(reply, Stocked):
                total, gone = total.plus(reply.stock, shared=shared), gone.plus(reply.gone)
        return total, gone

    async def _ask_all(self, number: int, question: Struct) -> list[Reply | None]:
        try:
            async with asyncio.timeout(APPLY_S):
                return await asyncio.gather(*[slot.ask(number, question) for slot in self._slots])
        except TimeoutError:
            return []

    async def heed(self, word: Word) -> int:
        self._numbers += 1
        replies = await self._ask_all(self._numbers, Heed(self._numbers, word))
        return sum([reply.count for reply in replies if isinstance(reply, Heeded)])

    def _labelled(self, number: int, labelled: Labelled) -> None:
        self._house.evidence.told(labelled.label)
        for slot in self._slots:
            if slot.number != number:
                slot.send(labelled)

    def _linked(self, number: int, linked: Linked) -> None:
        self._house.runs.learn(linked.run, linked.parent)
        for slot in self._slots:
            if slot.number != number:
                slot.send(linked)

    # --- the life of workers -----------------------------------------------------------------------------------------

    async def _keep(self, slot: Slot) -> None:
        """Until the gate stops."""
        young = 0
        while True:
            if self._stopping:
                return
            born_at = self._house.clock.now()
            await slot.live(self._welcome(slot))
            self._house.assembly.tools.gpus.strike(slot.number)
            young = young + 1 if self._house.clock.now() - born_at < YOUNG_S else 0
            await self._died(slot, PAUSES_S[min(young, len(PAUSES_S) - 1)])

    async def _died(self, slot: Slot, pause_s: float) -> None:
        if not self._stopping:
            self._house.metrics.table.numbers["worker_restarts_total"][()].value += 1
            self._house.log.event("worker died", "error", {"worker": slot.number})
            await asyncio.sleep(pause_s)

    def _welcome(self, slot: Slot) -> Callable[[], Welcome]:
        def welcome() -> Welcome:
            config = self._house.assembly.config
            journal = journal_of(config.data_dir, slot.number)
            runs, labels = self._house.runs, tuple(self._house.evidence.evidence.labels)
            return Welcome(
                *(slot.number, carry(config), str(journal), self._house.terminal),
                marks=runs.marks,
                seen=runs.seen,
                labels=labels,
            )

        return welcome

    async def _confirm(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(CONFIRM_S)
            for slot in self._slots:
                slot.confirm()

    async def _listen(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(1.0)
            for slot in self._slots:
                slot.silent += 1
                if slot.silent > SILENT_S and slot.pid is not None:
                    self._house.log.event("worker silent", "error", {"worker": slot.number, "seconds": slot.silent})
                    slot.kill()

    def _recall(self, path: tuple[str, ...]) -> None:
        accounts = frozenset(path)
        for slot in self._slots:
            numbers = slot.recall(accounts)
            if numbers:
                slot.send(Recalled(numbers))

    def _failed(self, number: int, why: str) -> None:
        self._house.log.event("worker failed", "error", {"worker": number, "why": why})


def journal_of(folder: Path, number: int) -> Path:
    return folder / f"worker-{number}.journal"
