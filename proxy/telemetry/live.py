"""What the fleet is doing now: calls that have ended, added up by the second, by agent, route, target and run.

It is fed the very entries that the ledger keeps, so the console, the terminal and the bill cannot tell different
stories; names are the real ones. Every row is an absolute count since the start of the gate, never an increment: who
misses a message is right again with the next one. All of it is bounded, and nothing here is on the way of a call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

from msgspec import json

from proxy.state.ledger_rows import Entry, Row, storable
from proxy.state.ledger_schema import ATTEMPT_RARE, ATTEMPT_USUAL, OUTCOME_RARE, OUTCOME_USUAL, names
from proxy.state.report import RequestRow, members
from proxy.telemetry.line import utc_text
from proxy.telemetry.live_report import Delta, Event, Gauges, Second, Snapshot, Totals
from proxy.telemetry.tally import Board, Counted, Tally, quantiles
from proxy.tenancy import owner, run_id

CALLS_SHOWN_MAX: Final = 50
EVENTS_SHOWN_MAX: Final = 50
SERIES_S: Final = 300
MINUTE_MS: Final = 60_000
FLEET_SAMPLES_MAX: Final = 2_000  # ... and of all calls of the last minute
THEIR_OWN: Final = ("client", "policy")  # whose errors are refusals; the others are failures

_CALL: Final = names((*OUTCOME_USUAL[1:], *OUTCOME_RARE))
_TRY: Final = names((*ATTEMPT_USUAL[1:], *ATTEMPT_RARE))


def _of(columns: Sequence[str], *wanted: str) -> itemgetter[tuple[int, ...]]:
    return itemgetter(*[columns.index(name) for name in wanted])


_READ_CALL: Final = _of(_CALL, "at_ms", "agent", "run", "parent_run", "route", "stream", "error_code", "error_source",
                        "first_event_s", "duration_s")  # fmt: skip
_READ_TENANT: Final = _of(_CALL, "key_id", "team")
_READ_TRY: Final = _of(_TRY, "target", "role", "lesson", "first_event_s", "cost_usd_nanos")
_READ_INPUT: Final = _of(_TRY, "input_uncached", "input_cached", "input_cache_write_5m", "input_cache_write_1h",
                         "input_audio", "input_image")  # fmt: skip
_READ_OUTPUT: Final = _of(_TRY, "output", "reasoning", "output_audio")
_READ_SHOWN: Final = _of(_CALL, "request_id", "at_ms", "agent", "run", "step", "model", "target", "status",
                         "error_code", "served_by", "attempts", "plan_mode", "agent_source")  # fmt: skip
_READ_FOREIGN: Final = _of(_CALL, "agent", "run", "parent_run", "route", "model", "target", "step")
_COST: Final = _CALL.index("cost_usd_nanos")


class Live:
    """`fold` what has ended, `tick` once a second; `snapshot` at any time."""

    def __init__(self, since_ms: int) -> None:
        self._since_ms = since_ms
        self._fleet, self._before = Tally(), Tally().row("")
        self._agents, self._routes, self._targets, self._runs = Board(), Board(), Board(), Board()
        self._firsts: deque[tuple[int, float]] = deque(maxlen=FLEET_SAMPLES_MAX)
        self._series: deque[Second] = deque(maxlen=SERIES_S)
        self._calls: deque[Entry] = deque(maxlen=CALLS_SHOWN_MAX)
        self._events: deque[Event] = deque(maxlen=EVENTS_SHOWN_MAX)
        self._fresh = 0  # calls of the present second
        self._gauges = Gauges()

    def __repr__(self) -> str:
        return f"Live({self._fleet.calls} calls, {len(self._series)} s)"

    def fold(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._fold(entry)

    def _fold(self, entry: Entry) -> None:
        at_ms, agent, run, parent, route, stream, error, source, first_s, duration_s = _READ_CALL(entry.outcome)
        ended_ms = at_ms + int(duration_s * 1000)
        first = first_s if stream and first_s != "" else None
        tokens_in = cached = tokens_out = 0
        for row in entry.attempts:
            tried = self._fold_try(row, ended_ms, stream=bool(stream))
            tokens_in += tried.input_tokens
            cached += tried.cached_tokens
            tokens_out += tried.output_tokens
        failed = refused = 0
        if error != "":
            refused = int(source in THEIR_OWN)
            failed = 1 - refused
        cost = entry.cost_usd_nanos
        counted = Counted(ended_ms, failed, refused, tokens_in, cached, tokens_out, cost, first)
        self._fleet.add(counted)
        self._agents.of(agent).add(counted)
        self._routes.of(route).add(counted)
        if run:
            of_run = self._runs.of(run_id(owner(*_READ_TENANT(entry.outcome)), run))
            of_run.add(counted)
            of_run.agent, of_run.parent = agent, parent or None
        if first is not None:
            self._firsts.append((ended_ms, first))
        self._calls.append(entry)
        self._fresh += 1

    def _fold_try(self, row: Row, at_ms: int, *, stream: bool) -> Counted:
        target, role, lesson, first_s, cost = _READ_TRY(row)
        tried = Counted(
            at_ms,
            1 if lesson == "failure" or lesson == "overload" else 0,
            0,
            *_input_tokens(row),
            _output_tokens(row),
            cost or 0,
            first_s if stream and first_s != "" else None,
            1 if role == "hedge" else 0,
        )
        self._targets.of(target).add(tried)
        return tried

    def noted(self, event: Event) -> None:
        self._events.append(event)

    def tick(self, at_ms: int, gauges: Gauges) -> Delta:
        """Closes the second that ends now."""
        self._gauges = gauges
        totals = self._fleet.row("")
        second = self._second(at_ms, totals)
        self._series.append(second)
        shown = [shown_call(entry) for entry in list(self._calls)[-self._fresh :][::-1]] if self._fresh else []
        left_out, self._fresh, self._before = self._fresh - len(shown), 0, totals
        boards = [board.changed() for board in (self._agents, self._routes, self._targets, self._runs)]
        agents, routes, targets, runs = boards
        return Delta(at_ms, second, gauges, totals, agents, routes, targets, runs, shown, left_out)

    def _second(self, at_ms: int, totals: Totals) -> Second:
        before, firsts = self._before, self._firsts
        while firsts and firsts[0][0] < at_ms - MINUTE_MS:  # ends: each turn takes one
            firsts.popleft()
        p50, p95 = quantiles([first for _, first in firsts])
        return Second(
            at_ms=at_ms,
            calls=totals.calls - before.calls,
            failed=totals.failed - before.failed,
            refused=totals.refused - before.refused,
            cost_usd_nanos=totals.cost_usd_nanos - before.cost_usd_nanos,
            input_tokens=totals.input_tokens - before.input_tokens,
            output_tokens=totals.output_tokens - before.output_tokens,
            in_flight=self._gauges.in_flight,
            queued=self._gauges.queued,
            first_token_p50_s=p50,
            first_token_p95_s=p95,
        )

    def snapshot(self, at_ms: int) -> Snapshot:
        boards = [board.latest() for board in (self._agents, self._routes, self._targets, self._runs)]
        agents, routes, targets, runs = boards
        return Snapshot(
            at_ms=at_ms,
            since_ms=self._since_ms,
            gauges=self._gauges,
            totals=self._fleet.row(""),
            agents=agents,
            routes=routes,
            targets=targets,
            runs=runs,
            calls=[shown_call(entry) for entry in reversed(self._calls)],
            events=list(reversed(self._events)),
            series=list(self._series),
        )


def _input_tokens(row: Row) -> tuple[int, int]:
    """All, and those of them that were cached."""
    plain, cached, five_minutes, hour, audio, image = _READ_INPUT(row)
    every = (plain or 0) + (cached or 0) + (five_minutes or 0) + (hour or 0) + (audio or 0) + (image or 0)
    return every, cached or 0


def _output_tokens(row: Row) -> int:
    text, reasoning, audio = _READ_OUTPUT(row)
    return (text or 0) + (reasoning or 0) + (audio or 0)


def _sendable(entry: Entry) -> Entry:
    """Clients may bring lone surrogates and numbers of any size, which no message can hold."""
    try:
        json.encode(_READ_FOREIGN(entry.outcome))
    except (UnicodeEncodeError, OverflowError):
        return storable(entry)
    return entry


def shown_call(entry: Entry) -> RequestRow:
    """As in a list of requests."""
    entry = _sendable(entry)
    row = entry.outcome
    id, at_ms, agent, run, step, model, target, status, error, served_by, attempts, mode, source = _READ_SHOWN(row)
    first_s, duration_s = _READ_CALL(row)[8:]
    return RequestRow(  # by position: above fifteen names CPython makes a dictionary of them
        id,
        utc_text(at_ms / 1000),
        at_ms,
        agent,
        run or None,
        None if step == "" else step,
        model,
        target or None,
        status,
        error or None,
        served_by,
        attempts,
        sum([_input_tokens(each)[0] for each in entry.attempts]),
        sum([_output_tokens(each) for each in entry.attempts]),
        None if row[_COST] == "" else entry.cost_usd_nanos,
        None if first_s == "" else first_s,
        duration_s,
        members(mode, (str(_READ_TRY(each)[0]) for each in entry.attempts)),
        source,
    )
