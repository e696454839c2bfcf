"""Where a ceiling of a run stands in a call's way: the best answer so far instead of an error, if its agent wants it.

The best is the last complete one: a reply of the run that ended by itself, with a text and without a tool to be called.
Which limits a run has is said elsewhere; only those that nothing but an operator lifts are ceilings here: money,
tokens, calls, steps and wall time of the run. What passes by itself stays an error that a client can wait for.
"""

from __future__ import annotations

from typing import Protocol

from policies.run_refusal import run_limit_exceeded
from policies.runs import Excess
from proxy import headers
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.errors import ProxyError
from proxy.execution.running import Running
from proxy.relay import Downstream
from proxy.runs.answers import Answers, whose


class Delivered(Protocol):
    """A reply; `first` is all of one that does not stream."""

    first: bytes

    @property
    def streams(self) -> bool: ...


class FailSoft:
    def __init__(self, clock: Clock, dialect: Dialect, answers: Answers | None = None) -> None:
        self._answers = answers or Answers()
        self._clock = clock
        self._dialect = dialect

    def __repr__(self) -> str:
        return f"FailSoft({self._answers!r})"

    def keep(self, running: Running, reply: Delivered) -> None:
        """What a call was answered, all of it delivered. Of a run that does not want it back nothing is looked at."""
        run, call, flight = running.run, running.record.call, running.record.flight
        if run is None or run.limits.at_limit != "best" or call.cause:
            return
        body = reply.first if not reply.streams else None if flight is None else flight.text
        if body is None:  # too long to be kept on its way
            return
        try:
            said = self._dialect.said(body)
        except ProxyError:
            return
        if len(said) == 1 and said[0].finish_reason == "stop" and said[0].text and not said[0].tool_calls:
            self._answers.keep(whose(call.identity, run.id), said[0].text, self._clock.now())

    async def answered(self, running: Running, downstream: Downstream, error: ProxyError) -> bool:
        """Whether the client was given the best answer in place of this error. Raises ConnectionError."""
        run, record, limit = running.run, running.record, ceiling(error)
        if run is None or limit is None or run.limits.at_limit != "best" or record.committed:
            return False
        text = self._answers.find(whose(record.call.identity, run.id), self._clock.now())
        body = None if text is None else self._dialect.given(record.call, text)
        if body is None:
            record.decided(self._clock.now(), "its run has no complete answer yet that could be given instead")
            return False
        record.decided(self._clock.now(), f"its run is at its limit ({limit}): given its last complete answer")
        record.status, record.bytes_out, record.served_by, record.committed = 200, len(body), "best", True
        await downstream.whole(200, headers.of_best(record, limit), body)
        record.delivered = True
        return True


def ceiling(error: ProxyError) -> str | None:
    """The hard limit of a run that refuses: its unit. None: something else does, or it passes by itself."""
    if error.code == "run_limit_exceeded":
        return "seconds" if error.details.get("limit") == "seconds" else None
    limits = error.details.get("limits") if error.code == "budget_exceeded" else None
    for limit in limits if isinstance(limits, list) else ():
        if limit["window"] == "run" and limit["reason"] != "held" and limit["unit"] != "concurrency":
            return str(limit["unit"])
    return None


def of_its_run(running: Running, error: ProxyError, now: float) -> ProxyError:
    """A deadline that was the end of the run is told as that."""
    run = running.run
    if run is None or not running.ends_with_run or error.code != "deadline_exceeded":
        return error
    oldest = min(run.lineage, key=lambda each: each.ends_at)
    return run_limit_exceeded(Excess(oldest.id, "seconds", oldest.limits.seconds or 0.0, now - oldest.first_at))
