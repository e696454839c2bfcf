"""One process that serves calls: it has connections, upstreams and leases, and owns nothing that must outlive it.

Its first word from the supervisor says what to serve; the end of the channel says that the supervisor is gone. Then,
as after `Stop`, nothing new is accepted, what runs may end, and everything that ended is in the slot's journal.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Raw

from policies.conformal import Label
from policies.leases import Hold, Leases, Wanted
from proxy.assemble import Assembled, gpu_rates
from proxy.assembly import Assembly
from proxy.clock import SystemClock
from proxy.config.carried import carried
from proxy.config.load import Config, ConfigError
from proxy.data_plane import DataPlane, Surroundings
from proxy.errors import ProxyError
from proxy.execution.evidence import Evidence
from proxy.instruments import learn_names, metrics_of
from proxy.memory import settle
from proxy.money.lease_messages import Asking, Feeling, Felt, Granted, Refused, Withdrawn
from proxy.money.leases import PATIENCE_S, LeasedStore
from proxy.runs.registry import Runs
from proxy.state.journal import Journal
from proxy.state.keys import KeyStoreError
from proxy.tasks import Tasks
from proxy.telemetry.log import LibraryHandler, Note, RequestLog
from proxy.telemetry.merging import Sender
from proxy.types import Amounts
from proxy.watching import watch_keys
from proxy.workers.answering import Question, answer
from proxy.workers.channel import Channel
from proxy.workers.gate_messages import KeptOut, LetIn
from proxy.workers.gates import RemoteDesk
from proxy.workers.lines import WholeLines
from proxy.workers.messages import (
    Acknowledged,
    Beat,
    Command,
    Downward,
    GaveBack,
    Heard,
    Heed,
    Labelled,
    Linked,
    Look,
    Prepare,
    Prepared,
    Ready,
    Recalled,
    Renewed,
    Renewing,
    Sampled,
    Stop,
    Survey,
    Swap,
    TakeStock,
    Told,
    Welcome,
)
from proxy.workers.orphans import Lock
from proxy.workers.settlements import Settlements

LOOK_S: Final = 0.5
BEAT_EACH: Final = 2  # looks
LAST_WORDS_S: Final = 5.0  # for the supervisor to confirm what was settled last
BROKEN: Final = (ConfigError, KeyStoreError, ValueError, OSError)


class Worker:
    """Made by the welcome. Also the store's `Owner` and `Witness`: it passes on what the leases have to say."""

    def __init__(self, welcome: Welcome, channel: Channel[Downward], listening: socket.socket) -> None:
        """Raises what `BROKEN` names."""
        self._lock = Lock(Path(welcome.journal))
        self._lock.acquire()
        config, self.clock = carried(welcome.config), SystemClock()
        self.channel = channel
        self.ending = asyncio.Event()
        self._next: tuple[Config, Assembled] | None = None
        self._accepting = True
        self._ready = False
        self.assembly = Assembly(config, self.clock, welcome.number)
        self.log = RequestLog(WholeLines(2), self.clock.wall, terminal=welcome.terminal)
        self._loop = asyncio.get_running_loop()
        self.log.listener = self._told
        logging.getLogger().addHandler(LibraryHandler(self.log))
        self.tasks = Tasks(self._task_failed)
        self.metrics = metrics_of(self.assembly)
        self.metrics.watch("log_records_dropped_total", lambda: self.log.dropped)
        self._sender = Sender(self.metrics.table)
        self.runs = Runs(self.clock, linked=self._linked)
        self.runs.restore(welcome.marks, welcome.seen)
        self.store = LeasedStore(self.clock, self.assembly.present.rulebook, self, self)
        self.store.patience_s = config.budgets.wait_s + PATIENCE_S
        self.settlements = Settlements(Journal(Path(welcome.journal)), self.clock, self.store.leases, self._send_raw)
        self.gates = RemoteDesk(channel.send)
        self.evidence = self._new_evidence(welcome.labels)
        self.plane = DataPlane(listening, self._surroundings())

    def __repr__(self) -> str:
        return f"Worker({self.plane!r}, {self.store!r}, {self.settlements!r})"

    async def serve(self) -> None:
        """Until it is told to stop, or is alone."""
        await self.plane.start()
        self._ready = True
        self.tasks.start("beat", self._beat())
        self.tasks.start("keys", watch_keys(self._look_at_keys))
        self.channel.send(Ready())
        settle()
        await self.ending.wait()
        self._ready = False
        await self.plane.stop()
        self._tell(self.clock.now())
        self.store.look(LOOK_S)
        await self._confirmed()
        self.channel.close()
        await self.tasks.close()
        await self.assembly.tools.transports.close()
        self.log.close()

    def orphaned(self) -> None:
        self.store.close(ProxyError("shutting_down", "The gate is stopping."))
        self.gates.close(ProxyError("shutting_down", "The gate is stopping."))
        self.settlements.confirmed.set()  # nobody will say so any more
        self.ending.set()

    # --- the store's owner -------------------------------------------------------------------------------------------

    def ask(self, asking: Asking) -> None:
        self.channel.send(asking)

    def feel(self, feeling: Feeling) -> None:
        self.channel.send(feeling)

    def withdraw(self, request: int) -> None:
        self.channel.send(Withdrawn(request))

    def give_back(self, leases: Leases) -> None:
        self.channel.send(GaveBack(tuple(leases.returns)))
        leases.returns.clear()

    def renew(self, wanted: tuple[Wanted, ...]) -> None:
        self.channel.send(Renewing(wanted))

    def held(self, hold: Hold) -> bool:
        return self.settlements.note(hold)

    def marked(self, id: str, reached: Amounts) -> None:
        self.settlements.mark(id, reached)

    # --- what the supervisor says ------------------------------------------------------------------------------------

    def hear(self, message: Downward) -> None:
        match message:
            case Granted():
                self.store.granted(message)
            case LetIn() | KeptOut():
                self.gates.hear(message)
            case Acknowledged():
                self.settlements.acknowledged(message.seq)
            case Renewed():
                self.store.renewed(message.lent)
            case Recalled():
                self.store.recalled(message.numbers)
            case Refused():
                self.store.refused(message)
            case Felt():
                self.store.felt(message)
            case Heard():
                self._accepting = message.accepting
                self.store.heard(message.sent_at)
            case _:
                self._obey(message)

    def _obey(self, message: Downward) -> None:
        match message:
            case Prepare():
                self._prepare(message)
            case Swap():
                self._swap(message.version)
            case Command() | Look() | Survey() | TakeStock() | Heed():
                self.tasks.start("answer", self._answer(message))
            case Labelled():
                self.evidence.hear(message.label)
            case Linked():
                self.runs.learn(message.run, message.parent)
            case Stop():
                self.ending.set()

    def _prepare(self, message: Prepare) -> None:
        self._next, why = None, None
        try:
            config = carried(message.config)
            self._next = config, self.assembly.made(config)
        except BROKEN as error:
            why = str(error)
        self.channel.send(Prepared(message.version, why))

    def _swap(self, version: str) -> None:
        if self._next is None or self._next[0].version != version:
            return  # it was made with that configuration, after the others had prepared it
        config, assembled = self._next
        self._next = None
        self.assembly.use(config, assembled)
        self.assembly.tools.gpus.use(gpu_rates(config))
        learn_names(self.metrics, self.assembly, self.assembly.config, self.assembly.present)
        self.store.replace(assembled.rulebook)
        self.store.patience_s = config.budgets.wait_s + PATIENCE_S
        self.plane.swap(config)

    def _look_at_keys(self) -> None:
        try:
            if self.assembly.keys.reload_if_changed():
                learn_names(self.metrics, self.assembly, self.assembly.config, self.assembly.present)
                self.store.replace(self.assembly.present.rulebook)
        except KeyStoreError as error:
            self.log.event("keys", "error", {"why": str(error)})

    async def _answer(self, question: Question) -> None:
        self.channel.send(await answer(question, self.plane))

    def _labelled(self, label: Label) -> None:
        self.channel.send(Labelled(label))

    def _told(self, note: Note) -> None:
        told = Told(note.name, note.level, dict(note.fields), note.wall)
        self._loop.call_soon_threadsafe(self.channel.send, told)  # it may come from any thread

    def _linked(self, run: str, parent: str) -> None:
        self.channel.send(Linked(run, parent))

    # --- what is told without being asked ----------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Until it is cancelled. The journal is synced, too: a power loss costs a second at most, and one that was
        rotated lets go of its old file."""
        self._tell(self.clock.now())
        looks, last = 0, self.clock.now()
        while True:
            await asyncio.sleep(LOOK_S)
            looks, now = looks + 1, self.clock.now()
            self.store.look(now - last)
            last = now
            if looks % BEAT_EACH == 0:
                self._tell(now)
                with suppress(ProxyError):  # nothing new is held then
                    await self.settlements.flush()

    def _tell(self, now: float) -> None:
        drift = self.metrics.spent_usd_nanos - self.settlements.cost_usd_nanos
        self.channel.send(Beat(now, self.plane.in_flight, drift, self._sender.changes()))

    async def _confirmed(self) -> None:
        """What is not confirmed stands in the journal, whoever reads it then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S if self.channel.open else 0):
                await self.settlements.confirmed.wait()

    # --- construction ------------------------------------------------------------------------------------------------

    def _new_evidence(self, labels: tuple[Label, ...]) -> Evidence:
        rules, watch = lambda: self.assembly.snapshot.cascades, self.metrics.races.cascades
        evidence = Evidence(self.clock, rules, self._labelled, watch)
        for label in labels:
            evidence.hear(label)
        return evidence

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            assembly=self.assembly,
            log=self.log,
            metrics=self.metrics,
            tasks=self.tasks,
            store=self.store,
            runs=self.runs,
            ledger=self.settlements,
            gates=self.gates,
            evidence=self.evidence,
            sampled=lambda experiment, sample: self.channel.send(Sampled(experiment, sample)),
            accepting=lambda: self._accepting and self.settlements.accepting,
            ready=lambda: self._ready and self.channel.open,
        )

    def _send_raw(self, data: Raw) -> None:
        self.channel.send(data)

    def _task_failed(self, name: str, error: BaseException) -> None:
        self.log.event("task failed", "error", {"task": name, "error": type(error).__name__})
