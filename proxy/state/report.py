"""What the ledger answers: values that `ledger_queries` fills, the admin listener sends and the command prints.

Money is integer nano-dollars; a sum covers the priced attempts, and `unpriced_calls` says how many calls have some that
it leaves out. `at` is UTC in ISO 8601. Names of agents, runs and models come from clients: they are data, nothing else.
Here too is what follows from the rows alone: the decision on a request in words. Runs: see `run_report`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

from msgspec import Struct

from pricing.book import Bill
from pricing.gpu import rate_of
from proxy.observed import GIVEN_UP
from proxy.state.content_report import ContentEntry

Value = str | int | float | None
Fields = dict[str, Value]  # a row by the names of its columns
NOT_KNOWN = "no known answer was looked for: its agent has no cache, and the call had no Idempotency-Key"
ABOUT_KNOWN = ("exact cache", "semantic cache", "journal", "joined the call")  # decisions that say of them

MANY = ("cascade", "quorum", "debate")  # modes of a model that stands for several

Decided = tuple[float, str, list[tuple[str, float | None, str]]]  # as in the column `decisions`


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
        return self.input_uncached + self.input_cached + self.input_written + self.input_audio + self.input_image

    @property
    def input_written(self) -> int:
        """To the caches of providers."""
        return self.input_cache_write_5m + self.input_cache_write_1h

    @property
    def output_total(self) -> int:
        return self.output + self.reasoning + self.output_audio


class SpendRow(Struct, frozen=True):
    """`key` is the value of the dimension, None where a call has none."""

    key: str | None
    tenant: str | None  # of a run, whose it is
    calls: int
    attempts: int
    tokens: Tokens
    cost_usd_nanos: int
    unpriced_calls: int
    estimated_usd_nanos: int  # the part of the cost whose usage no provider reported
    estimated_share: float | None  # of the cost; None when there is none


class IdleGpu(Struct, frozen=True):
    """The time of one engine of one's own, as far as it is booked: what no call was charged of it the operator pays."""

    provider: str
    elapsed_s: float
    busy_s: float
    price_usd_nanos: int
    charged_usd_nanos: int
    idle_usd_nanos: int


class Spend(Struct, frozen=True):
    by: str
    rows: list[SpendRow]  # dearest first
    total: SpendRow
    truncated: bool
    idle_gpus: list[IdleGpu] = []  # beside the total: it is no call's cost


class Usage(Struct, frozen=True):
    """Sums over the latest calls, and no more of them than can be added up while somebody waits."""

    by: str
    rows: list[SpendRow]  # dearest first
    looked_at: int  # calls
    capped: bool  # older ones would have belonged to it
    from_at: str | None  # the oldest call that was looked at


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
    members: str | None = None  # every target that was asked, where the model stands for several; see `members`
    agent_source: str = "none"  # `gate`: it is no client's call, but one that the gate made on behalf of its agent

    @property
    def by(self) -> str:
        """Who answered it, or `gate` for one of its own, which no client heard."""
        return "gate" if self.agent_source == "gate" else self.served_by


class Requests(Struct, frozen=True):
    rows: list[RequestRow]  # latest first
    before: int | None
    looked_back_to: str | None = None  # older calls were not looked at: ask again with `before`


class AttemptDetail(Struct, frozen=True):
    fields: Fields
    price: Bill | None  # the arithmetic of its cost, when its price record is still known


class Charged(Struct, frozen=True):
    """What a call took from one limit, in its unit; `overrun` is the part for which there was no room."""

    account: str
    unit: str
    window: str
    window_id: int
    carrier: str
    amount: int
    overrun: int


class RequestDetail(Struct, frozen=True):
    fields: Fields
    tags: list[tuple[str, str]]
    charges: list[Charged]
    attempts: list[AttemptDetail]
    decision: list[str]  # what happened, in words
    content: ContentEntry | None = None  # what was said, where that was asked for and is kept


def members(mode: Value, targets: Iterable[str]) -> str | None:
    """`a/x+b/y` of a quorum or a debate, `a/x>b/y` of a cascade; None of any other call."""
    if mode not in MANY:
        return None
    return (">" if mode == "cascade" else "+").join(dict.fromkeys(targets)) or None


def asked(row: RequestRow) -> str:
    """Where a call went, in a cell."""
    return row.members or row.target or "-"


def decision(call: Fields, attempts: Sequence[Fields], decisions: Sequence[Decided] = ()) -> list[str]:
    """What was decided and what came of it, a sentence each, in order."""
    words = []
    if call["plan_mode"]:
        words.append(f"planned: {call['plan_mode']} over {call['plan_targets']} ({call['plan_reason']})")
    told = [(at_s, [_decided_in_words(at_s, said, considered)]) for at_s, said, considered in decisions]
    told += [(round(float(each["started_s"] or 0), 6), _told_of(each)) for each in attempts]
    for _, sentences in sorted(told, key=itemgetter(0)):  # what was decided comes before what it led to
        words += sentences
    if not attempts:
        words.append("nothing was sent to any provider")
    words.append(_end_in_words(call))
    given_up = any(said.startswith(GIVEN_UP) for _, said, _ in decisions)
    if call["client_gone"] and not given_up:
        words.append("the client left before the reply was complete")
    if attempts and not any(about in said for _, said, _ in decisions for about in ABOUT_KNOWN):
        words.append(NOT_KNOWN)
    return words


def _decided_in_words(at_s: float, said: str, considered: list[tuple[str, float | None, str]]) -> str:
    others = [
        f"{target}: {_weighed(score_s, why_not)}"
        for place, (target, score_s, why_not) in enumerate(considered)
        if place or score_s is not None or why_not  # of the chosen one there may be nothing to add
    ]
    return f"after {_s(at_s)}: {said}" + (f" [{'; '.join(others)}]" if others else "")


def _weighed(score_s: float | None, why_not: str) -> str:
    """The chosen one has no reason against it."""
    if score_s is None:
        return why_not or "could be asked too"
    return f"expected {_s(score_s)}" + (f", {why_not}" if why_not else "")


def _told_of(attempt: Fields) -> list[str]:
    words = [_attempt_in_words(attempt)]
    if attempt.get("gpu_s") is not None:
        words.append(_time_in_words(attempt))
    if "held" in str(attempt.get("usage_flags") or "").split():
        words.append(f"attempt {attempt['number']}: its end is not known, so all that was held for it is charged")
    return words


def _attempt_in_words(attempt: Fields) -> str:
    sent = (
        f"attempt {attempt['number']} ({attempt['role']}) went to {attempt['target']} after {_s(attempt['started_s'])}"
    )
    status = "" if attempt["status"] is None else f", status {attempt['status']}"
    if attempt["error_code"] is None:
        first = "" if attempt["first_event_s"] is None else f", first event after {_s(attempt['first_event_s'])}"
        how = "given up after" if attempt["lesson"] == "ignore" else f"{attempt['lesson']} in"
        return f"{sent}: {how} {_s(attempt['duration_s'])}{status}{first}"
    return f"{sent}: {attempt['error_code']} after {_s(attempt['duration_s'])}{status}, counted as {attempt['lesson']}"


def _time_in_words(attempt: Fields) -> str:
    """The arithmetic of a cost that is no tokens' price."""
    per_s = rate_of(str(attempt["price_id"])) or 0
    cost, idle = int(attempt["cost_usd_nanos"] or 0), int(attempt["idle_usd_nanos"] or 0)
    took = f"its share of the time of {attempt['provider']} is {float(attempt['gpu_s'] or 0):.6f} s"
    rate = f"{_usd(per_s)} a second"
    rest = f", and {_usd(idle)} for time in which it stood idle: {_usd(cost)}" if idle else ""
    return f"attempt {attempt['number']}: {took}, at {rate} = {_usd(cost - idle)}{rest}"


def _usd(nanos: int) -> str:
    whole, rest = divmod(nanos, 1_000_000_000)
    return f"${whole}.{rest:09d}"


def _end_in_words(call: Fields) -> str:
    took = f"{_s(call['duration_s'])}, of which {_s(call['upstream_s'])} waiting for upstreams, limits and gates"
    if call["error_code"] is None and call["served_by"] == "none":
        return f"ended {call['status']} without an answer in {took}"
    if call["error_code"] is None:
        return f"answered {call['status']} by {call['served_by']} in {took}"
    return f"ended {call['status']} with {call['error_code']} ({call['error_source']}) in {took}"


def _s(value: Value) -> str:
    return f"{float(value or 0):.3f} s"
