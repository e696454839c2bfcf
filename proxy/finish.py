"""The last step of every call, exactly once: close what is still held, make the Outcome, tell the observers.

An observer that fails is counted and does not keep the others from hearing; nothing here can change the reply any
more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from proxy.clock import Clock
from proxy.execution.record import Record
from proxy.observed import GIVEN_UP, Decision
from proxy.types import Outcome

STATUS_CLIENT_GONE = 499


class Observer(Protocol):
    def observe(self, outcome: Outcome) -> None:
        """Must not wait."""
        ...


class Appendable(Protocol):
    def append(self, outcome: Outcome) -> None: ...

    async def flush(self) -> None:
        """Returns when all that was appended is on the disk. Raises ProxyError ledger_unavailable."""
        ...


class Recorder:
    """Writes outcomes into the ledger: of every call that had a key. A stranger's knocking is counted, not kept."""

    def __init__(self, ledger: Appendable) -> None:
        self._ledger = ledger

    def observe(self, outcome: Outcome) -> None:
        if outcome.call.identity.key_id:
            self._ledger.append(outcome)


class Finish:
    """`on_failure` is told the name of an observer that raised; `trials` hears only of calls that are part of an
    experiment, or that another call has caused."""

    def __init__(
        self,
        clock: Clock,
        observers: Mapping[str, Observer],
        on_failure: Callable[[str, Exception], None],
        *,
        trials: Observer | None = None,
    ) -> None:
        self._clock = clock
        self._observers = tuple(observers.items())
        self._on_failure = on_failure
        self._seldom = () if trials is None else (("experiments", trials),)
        self.ended = 0  # outcomes made; calls begun less this is what is in flight

    async def finish(self, record: Record, config_version: str) -> None:
        for exchange in tuple(record.open):
            await exchange.end("abandoned")
        record.close()
        record.finished = True
        if record.call.origin:
            _tell_origin(record, self._clock.now())
        outcome = self._outcome(record, config_version)
        self.ended += 1
        plan, observers = record.plan, self._observers
        if record.call.cause or (plan is not None and plan.arm is not None):
            observers += self._seldom
        for name, observer in observers:
            try:
                observer.observe(outcome)
            except Exception as error:
                self._on_failure(name, error)

    def _outcome(self, record: Record, config_version: str) -> Outcome:
        call, error = record.call, record.error
        arrived = call.arrived_at
        # The first by position: above fifteen names CPython makes a dictionary of them, at three times the cost.
        return Outcome(
            call,
            record.plan,
            tuple(record.attempts),
            STATUS_CLIENT_GONE if record.client_gone and not record.committed else record.status,
            self._clock.now() - arrived,
            record.served_by,
            error.code if error else None,
            error.source if error else None,
            record.upstream_s,
            None if record.first_event_at is None else record.first_event_at - arrived,
            None if record.last_event_at is None else record.last_event_at - arrived,
            record.gaps.gaps() if record.gaps is not None else None,
            record.bytes_out,
            record.client_gone,
            config_version,
            record.purse.charges,
            decisions=tuple(record.decisions) if record.decisions else (),
            reused=record.reused,
            looked_up=record.looked_up,
            climbed=record.climbed,
            voted=record.voted,
            loop=record.loop,
            spells=record.spells,
        )


def _tell_origin(record: Record, now: float) -> None:
    """First of all that was decided. No client can have left such a call."""
    if record.client_gone:
        ended = "whoever had asked for it waits no more" if record.call.cause else "its batch was cancelled or is over"
        record.decided(now, f"{GIVEN_UP}{ended}")
    record.decisions = [Decision(record.call.arrived_at, record.call.origin), *(record.decisions or ())]
