"""How an `Outcome` becomes rows: values only, so that they can also be sent to the process that owns the ledger.

An `Entry` is one call as the ledger keeps it, in the order of the columns of `ledger_schema` but without the number
that only the ledger can give. What is absent stands as "": binding None costs sqlite3 0.45 us, on the slow path for
types it does not know, and NULL is made of it in the statement. How rows are written is `ledger_insert`'s matter.
"""

from __future__ import annotations

import json
from typing import Final

from msgspec import Struct, msgpack
from msgspec import json as fast_json

from proxy.observed import Decision
from proxy.state.ledger_schema import TOKEN_CLASSES
from proxy.types import Attempt, Outcome, Plan, Usage

Value = str | int | float | None
Row = tuple[str | int | float, ...]

ABSENT: Final = ""
INTEGER_MAX: Final = 2**63 - 1


class Entry(Struct, frozen=True):
    """One call: its row without `seq` and hash, and a row for each attempt without the call's number."""

    outcome: Row
    attempts: tuple[Row, ...]
    cost_usd_nanos: int  # over the attempts that had a price
    ended_at: float  # on the machine's monotonic clock

    @property
    def request_id(self) -> str:
        return str(self.outcome[0])


def entry(outcome: Outcome) -> Entry:
    call, attempts = outcome.call, outcome.attempts
    arrived_at = call.arrived_at
    if len(attempts) == 1:  # as with most calls
        rows: tuple[Row, ...] = (_attempt_row(0, attempts[0], arrived_at),)
        cost = attempts[0].cost_usd_nanos or 0
    else:
        rows = tuple([_attempt_row(position, attempt, arrived_at) for position, attempt in enumerate(attempts)])
        cost = sum([attempt.cost_usd_nanos or 0 for attempt in attempts])
    return Entry(_outcome_row(outcome), rows, cost, arrived_at + outcome.duration_s)


_PACK: Final = msgpack.Encoder()
_UNPACK: Final = msgpack.Decoder(Entry)


def pack(entry: Entry) -> bytes:
    """For the way from one process to another."""
    try:
        return _PACK.encode(entry)
    except (UnicodeEncodeError, OverflowError):
        return _PACK.encode(storable(entry))


def unpack(data: bytes) -> Entry:
    """Raises msgspec.DecodeError, or its ValidationError."""
    return _UNPACK.decode(data)


def storable(entry: Entry) -> Entry:
    """The nearest that SQLite can hold: headers may bring lone surrogates, upstreams any number."""
    attempts = tuple(storable_row(row) for row in entry.attempts)
    return Entry(storable_row(entry.outcome), attempts, entry.cost_usd_nanos, entry.ended_at)


def storable_row(row: Row) -> Row:
    return tuple(_storable(value) for value in row)


def _storable(value: str | int | float) -> str | int | float:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return max(-INTEGER_MAX, min(INTEGER_MAX, value))
    return value


def _decisions(decisions: tuple[Decision, ...], arrived_at: float) -> str:
    rows = []
    for decision in decisions:
        considered = [(each.target, each.score_s, each.why_not) for each in decision.considered]
        rows.append((round(decision.at - arrived_at, 6), decision.said, considered))
    return fast_json.encode(rows).decode()


def _outcome_row(outcome: Outcome) -> Row:
    """As wide as the table only where something was decided."""
    call, plan, attempts = outcome.call, outcome.plan, outcome.attempts
    head, who, cost = call.head, call.identity, outcome.cost_usd_nanos
    row = (
        call.id,
        int(call.arrived_wall * 1000),
        who.key_id,
        who.agent,
        who.agent_source,
        who.run or ABSENT,
        who.run_source,
        call.endpoint,
        call.dialect,
        head.model,
        call.route,
        1 if head.stream else 0,
        call.input_tokens_estimate,
        call.deadline - call.arrived_at,
        call.trace_id,
        plan.mode if plan else ABSENT,
        _targets(plan) if plan else ABSENT,
        plan.reason if plan else ABSENT,
        attempts[-1].target.id if attempts else ABSENT,
        outcome.served_by,
        outcome.status,
        len(attempts),
        ABSENT if cost is None else cost,
        ABSENT if outcome.first_event_s is None else outcome.first_event_s,
        outcome.duration_s,
        outcome.upstream_s,
        len(call.raw),
        outcome.bytes_out,
        outcome.config_version,
        who.team or ABSENT,
        who.parent_run or ABSENT,
        ABSENT if who.step is None else who.step,
        who.depth,
        json.dumps(who.tags, ensure_ascii=False) if who.tags else ABSENT,
        ABSENT if head.output_tokens_max is None else head.output_tokens_max,
        call.client_retry,
        outcome.error_code or ABSENT,
        outcome.error_source or ABSENT,
        1 if outcome.client_gone else 0,
        fast_json.encode(outcome.charges).decode() if outcome.charges else ABSENT,
    )
    return (*row, _decisions(outcome.decisions, call.arrived_at)) if outcome.decisions else row


def _targets(plan: Plan) -> str:
    """Of several members each, in their order: one after another in a cascade, else together."""
    steps = plan.steps
    if plan.members:
        each = [f"({told})" if " " in (told := _targets(member)) else told for member in plan.members]
        return (" > " if plan.mode == "cascade" else ", ").join(each)
    if len(steps) == 1 and len(steps[0]) == 1:
        return steps[0][0].id
    return " > ".join([" | ".join([target.id for target in step]) for step in steps])


NOT_BILLED: Final[Row] = (ABSENT,) * (len(TOKEN_CLASSES) + 2)


def _usage(usage: Usage) -> Row:
    return (
        usage.source,
        usage.input_uncached,
        usage.input_cached,
        usage.output,
        usage.reasoning,
        usage.input_cache_write_5m,
        usage.input_cache_write_1h,
        usage.input_audio,
        usage.input_image,
        usage.output_audio,
        " ".join(usage.flags) if usage.flags else ABSENT,
    )


def _attempt_row(position: int, attempt: Attempt, arrived_at: float) -> Row:
    """As wide as the table only where the time of an engine was used."""
    target, cost = attempt.target, attempt.cost_usd_nanos
    row = (
        position,
        attempt.number,
        attempt.role,
        target.id,
        target.provider,
        target.model,
        attempt.started_at - arrived_at,
        ABSENT if attempt.first_event_s is None else attempt.first_event_s,
        attempt.duration_s,
        attempt.lesson,
        ABSENT if attempt.status is None else attempt.status,
        attempt.upstream_request_id or ABSENT,
        target.price.id if target.price else ABSENT,
        attempt.held_usd_nanos,
        ABSENT if cost is None else cost,
        *(NOT_BILLED if attempt.usage is None else _usage(attempt.usage)),
        attempt.error_code or ABSENT,
        attempt.exposure_usd_nanos,
    )
    return row if attempt.gpu_s is None else (*row, attempt.gpu_s, attempt.idle_usd_nanos)
