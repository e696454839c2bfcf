"""One call that runs, as seen by those who may end it: a stop of the gate, an operator who kills or pauses its run.

`interrupt` is the one way to do that. It cancels the call's task and leaves word why; `serve` takes the word back out
of the cancellation, settles what is open by the provider's abort rule, and tells the client, which is still there. A
cancellation without a word is a client that has left.
"""

from __future__ import annotations

import asyncio
from math import inf

from msgspec import structs

from policies.runs import Run
from proxy.errors import ProxyError
from proxy.execution.record import Record
from proxy.types import Call


class Running:
    __slots__ = ("_settled", "_word", "ending", "ends_with_run", "record", "run", "task")

    def __init__(self, record: Record, run: Run | None) -> None:
        task = asyncio.current_task()
        assert task is not None  # a handler is one
        self.record = record
        self.run = run
        self.ending = False  # it is past the point where it can be interrupted: it ends by itself
        self.ends_with_run = False  # its deadline is the end of its run
        self.task = task
        self._word: ProxyError | None = None
        self._settled: asyncio.Future[None] | None = None  # made when somebody waits for it

    def __repr__(self) -> str:
        return f"Running({self.record!r}, ending={self.ending}, word={self._word!r})"

    def bounded(self) -> Call:
        """Its call, which may not outlive its run or one above it."""
        run, call = self.run, self.record.call
        ends_at = inf if run is None else min([each.ends_at for each in run.lineage])
        if ends_at < call.deadline:
            self.ends_with_run = True
            self.record.call = call = structs.replace(call, deadline=ends_at)
        return call

    def interrupt(self, error: ProxyError) -> bool:
        """False: it has its reply whole, or is being told an error already."""
        if self.ending or self.record.delivered:
            return False
        if self._word is None:
            self._word = error
            self.task.cancel()
        return True

    def why(self) -> ProxyError | None:
        """For whoever has just been cancelled: the word of an interruption, whose cancellation is then taken back.
        None: the client has left."""
        if self._word is None or self.task.uncancel() > 0 or self.record.delivered:
            return None
        return self._word

    def settle(self) -> None:
        """Nothing of it is held any more, or a named task has taken over what is. The second time: nothing."""
        self.ending = True
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def settled(self) -> asyncio.Future[None]:
        if self._settled is None:
            self._settled = asyncio.get_running_loop().create_future()
            if self.ending:
                self._settled.set_result(None)
        return self._settled
