"""What the ledger answers: the values that `ledger_queries` builds, the admin listener sends, the command prints.

Money is integer nano-dollars; a sum covers the priced attempts, and `unpriced_calls` says how many calls have some that
it leaves out. `at` is UTC in ISO 8601. Names of agents, runs and models come from clients: they are data, nothing else.
"""

from __future__ import annotations

from msgspec import Struct

Value = str | int | float | None


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
    critical_path: Path  # over the calls of the whole tree
    longest_step: RequestRow | None  # of the whole tree
    calls: list[RequestRow]  # this run's own, in order
    children: list[RunTree]
    truncated: bool  # there are more calls or children than shown


class AttemptDetail(Struct, frozen=True):
    fields: dict[str, Value]
    price: str | None  # the arithmetic of its cost, when its price record is still known


class RequestDetail(Struct, frozen=True):
    fields: dict[str, Value]
    tags: list[tuple[str, str]]
    attempts: list[AttemptDetail]
    decision: list[str]  # what happened, in words
