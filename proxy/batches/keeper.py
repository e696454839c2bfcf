"""Runs batches: in one process of a gate, with a few lines at a time, and never a line that is done.

What is to be done stands on the disk, whoever has put it there, so a restart goes on where the gate before it stopped.
`Keeper` looks there twice a second, has a `Work` for each batch that has not ended (a few for each owner) and hands out
the lines: the batches take turns. How far a batch is, is its `job`'s to know; what a line's call came to is `lines`'.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import Struct

from proxy.batches import tables
from proxy.batches.archive import Archive
from proxy.batches.job import Job
from proxy.batches.lease import Lease
from proxy.batches.lines import Later, Lines
from proxy.batches.objects import Batch
from proxy.batches.scanning import line_of
from proxy.batches.work import Ended, Work
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.snapshot import BatchRules
from proxy.tasks import Tasks

LOOK_S: Final = 0.5
SWEEP_S: Final = 3_600.0
DATE_S: Final = 60.0  # the date may be set: how often it is looked at
AGAIN_S: Final = 5.0  # after a failure of the disk
EACH_MAX: Final = 4  # batches of one owner that run at the same time; the others wait for their turn
LAST_WORDS_S: Final = 5.0  # for lines that have their answer to be written down


class Kit(Struct, frozen=True):
    """What it works with. `answered` is told whether a line has got its answer, `ended` what became of a batch,
    `report` what the disk has done."""

    archive: Archive
    lines: Lines
    tasks: Tasks
    clock: Clock
    rules: Callable[[], BatchRules]
    answered: Callable[[bool], None]
    ended: Ended
    report: Callable[[str], None]


class Keeper:
    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._lease = Lease(kit.archive.folder)
        self._work = Work(kit.archive, kit.clock, kit.rules, kit.ended)
        self._busy: dict[str, asyncio.Task[None]] = {}  # by batch
        self._jobs: deque[Job] = deque()  # those that have lines to be asked; the first is next
        self._flying: dict[asyncio.Task[None], Job] = {}
        self._woken = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._stopped = False
        self._full = False
        self._sweep_at = 0.0

    def __repr__(self) -> str:
        return f"Keeper({self._lease!r}, {len(self._busy)} batches, {len(self._flying)} lines)"

    @property
    def running(self) -> int:
        """Batches that are worked on."""
        return len(self._busy)

    def start(self) -> None:
        self._keeping = self._kit.tasks.start("batches", self._keep())

    def wake(self) -> None:
        """Something has changed on the disk."""
        self._woken.set()

    def stop(self) -> None:
        """No line is begun from here on."""
        self._stopped = True

    async def close(self) -> None:
        """What runs is over by now, or will be begun again by the next gate."""
        self._stopped = True
        if self._flying:
            await asyncio.wait(tuple(self._flying), timeout=LAST_WORDS_S)
        tasks = [*self._flying, *self._busy.values()]
        if self._keeping is not None:
            tasks.append(self._keeping)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._lease.give_up()
        await self._kit.archive.close()

    async def _keep(self) -> None:
        """Until it is cancelled."""
        while True:
            self._woken.clear()
            pause_s = LOOK_S
            try:
                if self._kit.archive.begun and self._lease.take():
                    await self._look()
            except (ProxyError, OSError) as error:
                self._kit.report(str(error))
                pause_s = AGAIN_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()

    async def _look(self) -> None:
        unended = await self._kit.archive.ask(tables.unended)
        owners = Counter(batch.owner for batch in unended if batch.id in self._busy)
        for batch in unended:
            if batch.id not in self._busy and owners[batch.owner] < EACH_MAX and not self._stopped:
                owners[batch.owner] += 1
                self._busy[batch.id] = self._kit.tasks.start("batch", self._through(batch))
        cancelled = {batch.id for batch in unended if batch.status == "cancelling"}
        for job in self._jobs:
            if job.batch.id in cancelled:
                self._cancel(job)
        if unended or self._kit.clock.now() >= self._sweep_at:
            await self._tidy()
            self._dispatch()

    async def _tidy(self) -> None:
        rules, now = self._kit.rules(), self._kit.clock.now()
        full = await self._kit.archive.ask(tables.used) >= rules.files
        if full and not self._full:
            self._kit.report("batches wait: there is no room for what they write (batches.files_mb)")
        self._full = full
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_S
            await self._work.sweep()

    def _cancel(self, job: Job) -> None:
        job.cancelled = True
        job.over.set()
        for task, flying in self._flying.items():
            if flying is job:
                task.cancel()

    # --- a batch -----------------------------------------------------------------------------------------------------

    async def _through(self, batch: Batch) -> None:
        try:
            await self._work.through(batch, self._play)
        except ProxyError as error:
            self._kit.report(error.message)
            await asyncio.sleep(AGAIN_S)
        finally:
            self._busy.pop(batch.id, None)
            self.wake()

    async def _play(self, job: Job) -> None:
        """Until all of its lines are done, it is cancelled or its time is over; none is asked then."""
        self._jobs.append(job)
        try:
            self._dispatch()
            while not (job.done or job.cancelled) and (left_s := self._left_s(job.batch)) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left_s, DATE_S)):
                        await job.over.wait()
        finally:
            self._jobs.remove(job)
        self._cancel(job)
        if flying := [task for task, its in self._flying.items() if its is job]:
            await asyncio.wait(flying)

    def _left_s(self, batch: Batch) -> float:
        return batch.expires_at - self._kit.clock.wall()

    # --- its lines ---------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        now, room = self._kit.clock.now(), self._kit.rules().concurrency
        idle = 0  # batches one after the other that had none
        while len(self._flying) < room and idle < len(self._jobs) and not (self._stopped or self._full):
            job = self._jobs[0]
            self._jobs.rotate(-1)
            number = job.take(now)
            if number is None:
                idle += 1
                continue
            idle = 0
            task = self._kit.tasks.start("batch line", self._line(job, number))
            self._flying[task] = job
            task.add_done_callback(partial(self._landed, job, number))

    async def _line(self, job: Job, number: int) -> None:
        kit, batch = self._kit, job.batch
        try:
            line = line_of(await kit.archive.piece(batch.input_file_id, *job.place(number)))
            if self._stopped:  # meanwhile: a call that begins now would not be let end
                return
            tries, left_s = job.tries(number), self._left_s(batch)
            said = await kit.lines.ask(batch, number, line, tries=tries, left_s=left_s)
            if isinstance(said, Later):
                job.later(number, said, kit.clock.now())
                return
            add = partial(tables.add_line, id=batch.id, number=number, good=said.good, entry=said.entry)
            await kit.archive.ask(add)
        except ProxyError as error:  # of the disk: the journal has its answer
            kit.report(error.message)
            job.later(number, Later(AGAIN_S, waits=True), kit.clock.now())
            return
        kit.answered(said.good)
        job.said(number)

    def _landed(self, job: Job, number: int, task: asyncio.Task[None]) -> None:
        del self._flying[task]
        if number in job.flying:  # cancelled, not begun, or a defect, which was told
            job.later(number, Later(AGAIN_S, waits=False), self._kit.clock.now())
        if job.done:
            job.over.set()
        self._dispatch()
