"""What the ledger answers: values that `ledger_queries` fills, the admin listener sends and the command prints.

Money is integer nano-dollars; a sum covers the priced attempts, and `unpriced_calls` says how many calls have some that
it leaves out. `at` is UTC in ISO 8601. Names of agents, runs and models come from clients: they are data, nothing else.
Here too is what follows from the rows alone: the critical path of a run (weighted interval scheduling) and the decision
on a request in words.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from msgspec import Struct

from pricing.book import Bill

Value = str | int | float | None
Fields = dict[str, Value]  # a row by the names of its columns


class Tokens(Struct, frozen=True):
    """Disjoint classes, as in `proxy.types.Usage`."""

    input_uncached: int
    input_cached: int
    input_cache_write_5m: int
    input_cache_write_1h: int
    input_audio: int
    input_image: int
    output: int
    reasoning: int
    output_audio: int

    @property
    def input_total(self) -> int:
        writes = self.input_cache_write_5m + self.input_cache_write_1h
        return self.input_uncached + self.input_cached + writes + self.input_audio + self.input_image

    @property
    def output_total(self) -> int:
        return self.output + self.reasoning + self.output_audio


class SpendRow(Struct, frozen=True):
    """`key` is the value of the dimension, None where a call has none."""

    key: str | None
    calls: int
    attempts: int
    tokens: Tokens
    cost_usd_nanos: int
    unpriced_calls: int
    estimated_usd_nanos: int  # the part of the cost whose usage no provider reported
    estimated_share: float | None  # of the cost; None when there is none


class Spend(Struct, frozen=True):
    by: str
    rows: list[SpendRow]  # dearest first
    total: SpendRow
    truncated: bool


class Summary(Struct, frozen=True):
    """A set of calls in a line."""

    calls: int
    errors: int
    first_at: str | None
    last_at: str | None  # when the last call ended
    wall_s: float
    input_tokens: int
    output_tokens: int
    cost_usd_nanos: int
    unpriced_calls: int


class AgentRow(Struct, frozen=True):
    agent: str
    runs: int
    summary: Summary


class RunRow(Struct, frozen=True):
    run: str
    parent: str | None
    agents: list[str]
    summary: Summary


class Runs(Struct, frozen=True):
    rows: list[RunRow]  # latest first
    before: int | None  # pass it to see the next page


class RequestRow(Struct, frozen=True):
    request_id: str
    at: str
    at_ms: int
    agent: str
    run: str | None
    step: int | None
    model: str
    target: str | None
    status: int
    error_code: str | None
    served_by: str
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_usd_nanos: int | None
    first_event_s: float | None
    duration_s: float


class Requests(Struct, frozen=True):
    rows: list[RequestRow]  # latest first
    before: int | None


class Path(Struct, frozen=True):
    """The critical path: of all chains of calls, each beginning after the one before had ended, the one that took
    longest. Nothing that shortens only other calls can make the run shorter than this."""

    seconds: float
    request_ids: list[str]


class RunTree(Struct, frozen=True):
    run: RunRow
    total_usd_nanos: int  # with all children
    wall_s: float  # from the first call to the end of the last, of the whole tree
    critical_path: Path  # over the calls of the whole tree
    longest_step: RequestRow | None  # of the whole tree
    calls: list[RequestRow]  # this run's own, in order
    children: list[RunTree]
    truncated: bool  # there are more calls or children than shown


class AttemptDetail(Struct, frozen=True):
    fields: Fields
    price: Bill | None  # the arithmetic of its cost, when its price record is still known


class RequestDetail(Struct, frozen=True):
    fields: Fields
    tags: list[tuple[str, str]]
    attempts: list[AttemptDetail]
    decision: list[str]  # what happened, in words


def tree(row: RunRow, calls: list[RequestRow], children: list[RunTree], truncated: bool) -> RunTree:
    below = list(_calls(children))
    steps = [*calls, *below]
    return RunTree(
        run=row,
        total_usd_nanos=row.summary.cost_usd_nanos + sum(child.total_usd_nanos for child in children),
        wall_s=(max(map(_end_ms, steps), default=0) - min((step.at_ms for step in steps), default=0)) / 1000,
        critical_path=critical_path(steps),
        longest_step=max(steps, key=lambda step: step.duration_s, default=None),
        calls=calls,
        children=children,
        truncated=truncated or any(child.truncated for child in children),
    )


def _calls(trees: Sequence[RunTree]) -> Iterator[RequestRow]:
    for child in trees:
        yield from child.calls
        yield from _calls(child.children)


def _end_ms(call: RequestRow) -> int:
    return call.at_ms + int(call.duration_s * 1000)


def critical_path(calls: Sequence[RequestRow]) -> Path:
    """best[i] is the longest chain among the i calls that end first; a call either is not in it, or extends the best
    of those that had ended when it began. Whole milliseconds, so that a call may begin in the one another ended in."""
    ordered = sorted(calls, key=_end_ms)
    ends = [_end_ms(call) for call in ordered]
    best, before = [0], []
    for index, call in enumerate(ordered):
        before.append(bisect_right(ends, call.at_ms, hi=index))
        best.append(max(best[index], best[before[index]] + ends[index] - call.at_ms))
    chain, index = [], len(ordered)
    while index > 0:
        if best[index] == best[index - 1]:
            index -= 1
        else:
            chain.append(ordered[index - 1].request_id)
            index = before[index - 1]
    return Path(seconds=best[-1] / 1000, request_ids=chain[::-1])


def decision(call: Fields, attempts: Sequence[Fields]) -> list[str]:
    """What was decided and what came of it, a sentence each, in order."""
    words = []
    if call["plan_mode"]:
        words.append(f"planned: {call['plan_mode']} over {call['plan_targets']} ({call['plan_reason']})")
    for attempt in attempts:
        words.append(_attempt_in_words(attempt))
        if "held" in str(attempt.get("usage_flags") or "").split():
            words.append(f"attempt {attempt['number']}: its end is not known, so all that was held for it is charged")
    if not attempts:
        words.append("nothing was sent to any provider")
    words.append(_end_in_words(call))
    if call["client_gone"]:
        words.append("the client left before the reply was complete")
    return words


def _attempt_in_words(attempt: Fields) -> str:
    sent = (
        f"attempt {attempt['number']} ({attempt['role']}) went to {attempt['target']} after {_s(attempt['started_s'])}"
    )
    status = "" if attempt["status"] is None else f", status {attempt['status']}"
    if attempt["error_code"] is None:
        first = "" if attempt["first_event_s"] is None else f", first event after {_s(attempt['first_event_s'])}"
        return f"{sent}: {attempt['lesson']} in {_s(attempt['duration_s'])}{status}{first}"
    return f"{sent}: {attempt['error_code']} after {_s(attempt['duration_s'])}{status}, counted as {attempt['lesson']}"


def _end_in_words(call: Fields) -> str:
    took = f"{_s(call['duration_s'])}, of which {_s(call['upstream_s'])} waiting for upstreams"
    if call["error_code"] is None:
        return f"answered {call['status']} by {call['served_by']} in {took}"
    return f"ended {call['status']} with {call['error_code']} ({call['error_source']}) in {took}"


def _s(value: Value) -> str:
    return f"{float(value or 0):.3f} s"
