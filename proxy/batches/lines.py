"""One line of a batch as a call: on behalf of the batch's key, agent and run, of the lowest priority, once.

It goes the whole way of a call, under a name in the journal that is made of batch and line: what was answered before a
process died is handed out again and not bought twice. What only says "not now" is no answer, and the line is asked
again later; what an upstream could not do is tried a few times; all else is the line's answer, as a client would have
had it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Raw, Struct, structs

from pricing.tokens import input_estimate
from proxy.batches.objects import ENDPOINTS, Batch
from proxy.batches.scanning import Line
from proxy.clock import Clock
from proxy.dialects.base import Dialect
from proxy.dialects.json_body import object_of
from proxy.errors import ProxyError
from proxy.execution.record import Record
from proxy.parts import Shared
from proxy.reuse import Reuse
from proxy.side_calls import Heard
from proxy.snapshot import Snapshot
from proxy.types import Call, Identity, KeyRecord

TRIES_MAX: Final = 3  # of what an upstream could not do, beyond the retries of each call
WAIT_S: Final = 2.0  # where a refusal names no time
WAIT_MAX_S: Final = 60.0
NOT_NOW: Final = frozenset(
    {
        *("rate_limit_exceeded", "run_paused", "run_width_exceeded", "run_gate_full", "run_gate_timeout"),
        *("overloaded", "upstream_overloaded", "idempotency_pending", "ledger_unavailable", "shutting_down"),
    }
)

Serve = Callable[[Call, Shared, Snapshot], Awaitable[Record]]
_RAW: Final = msgspec.json.Decoder(Raw)


class Said(Struct, frozen=True):
    """The line of the output file, or of the error file."""

    good: bool
    entry: bytes


class Later(Struct, frozen=True):
    """Not now. `waits`: nothing was tried, and other lines would hear the same."""

    delay_s: float
    waits: bool


class Lines:
    def __init__(self, clock: Clock, dialect: Dialect, serve: Serve, snapshot: Callable[[], Snapshot]) -> None:
        self._clock = clock
        self._dialect = dialect
        self._serve = serve
        self._snapshot = snapshot

    def __repr__(self) -> str:
        return f"Lines({self._dialect.name})"

    async def ask(self, batch: Batch, number: int, line: Line, *, tries: int, left_s: float) -> Said | Later:
        """`number` is its place in the batch, `tries` how often it was asked before, `left_s` until the batch ends."""
        snapshot, id = self._snapshot(), self._clock.id()
        try:
            call = self._call(batch, number, line, snapshot=snapshot, left_s=left_s)
        except ProxyError as error:
            return self._told(line, id, *self._dialect.error(error))
        heard = Heard()
        record = await self._serve(call, heard, journalled(snapshot, call.identity.agent))
        refused = record.error
        if refused is not None and (later := _later(refused, tries, tried=bool(record.attempts))) is not None:
            return later
        return self._told(line, call.id, heard.status, heard.body)

    def _call(self, batch: Batch, number: int, line: Line, *, snapshot: Snapshot, left_s: float) -> Call:
        """Raises ProxyError."""
        raw, key = bytes(line.body), snapshot.keyring.of(batch.identity.key_id)
        if key is None:
            raise ProxyError("invalid_api_key", "The key that this batch was made with is not valid any more.")
        if len(raw) > snapshot.limits.body_bytes_max:
            raise ProxyError("request_too_large", f"The body is larger than {snapshot.limits.body_bytes_max} bytes.")
        endpoint, identity = ENDPOINTS[batch.endpoint], _present(batch.identity, key)
        head = self._dialect.read(endpoint, raw, "application/json")
        if head.stream:
            raise ProxyError("invalid_request", "A batch has no streams.", param="stream")
        route = snapshot.planner.routes.find(head.model)
        now, id = self._clock.now(), self._clock.id()
        return Call(
            id,
            endpoint,
            "openai",
            "" if route is None else route.name,
            head,
            raw,
            identity,
            arrived_at=now,
            arrived_wall=self._clock.wall(),
            deadline=now + min(snapshot.rules(identity.agent).deadline_s, left_s),
            input_tokens_estimate=input_estimate(raw),
            trace_id=id,
            priority="batch",
            hedged=False,
            origin=f"line {line.custom_id!r} of {batch.id}",
            reuse=structs.replace(head.reuse or Reuse(), write=True, key=f"{batch.id}:{number}"),
            loop_allowed=True,  # many lines that look alike are no run that goes round in circles
        )

    def _told(self, line: Line, id: str, status: int, body: bytes) -> Said:
        entry = {
            "id": f"batch_req_{id}",
            "custom_id": line.custom_id,
            "response": {"status_code": status, "request_id": id, "body": _one_line(body)},
            "error": None,
        }
        return Said(status == 200, msgspec.json.encode(entry) + b"\n")


def unasked(line: Line, id: str, code: str, message: str) -> bytes:
    """What the error file says of a line that was not asked, or not to its end."""
    entry = {
        "id": f"batch_req_{id}",
        "custom_id": line.custom_id,
        "response": None,
        "error": {"code": code, "message": message},
    }
    return msgspec.json.encode(entry) + b"\n"


def journalled(snapshot: Snapshot, agent: str) -> Snapshot:
    """With the journal on, whatever the agent has of it otherwise, and strict: an answer is in the ledger before its
    line is in a file, so that whoever reads a line finds its call."""
    rules = snapshot.rules(agent)
    if rules.cache.replay == "off":
        rules = structs.replace(rules, cache=structs.replace(rules.cache, replay="keyed"))
    return structs.replace(snapshot, agents={agent: rules}, strict=True)


def _later(error: ProxyError, tries: int, *, tried: bool) -> Later | None:
    held = _held(error)
    unsent = error.source == "upstream" and not error.sent
    waits = held or unsent or error.code in NOT_NOW or (error.code == "deadline_exceeded" and not tried)
    if not (waits or (error.client_may_retry and tries + 1 < TRIES_MAX)):
        return None
    delay_s = WAIT_S * 2.0 ** min(tries, 5) if error.retry_after_s is None or held else error.retry_after_s
    return Later(min(delay_s, WAIT_MAX_S), waits)


def _held(error: ProxyError) -> bool:
    """Nothing but running calls, such as other lines, stands between it and its budget: not until the next window."""
    limits = error.details.get("limits") if error.code == "budget_exceeded" else None
    return isinstance(limits, list) and all(limit["reason"] == "held" for limit in limits)


def _present(identity: Identity, key: KeyRecord) -> Identity:
    """What the key may use now; whose costs it is stays as it was."""
    return structs.replace(identity, models=key.models)


def _one_line(body: bytes) -> Raw | str:
    """JSON may have line ends between its values only."""
    text = body.replace(b"\r", b" ").replace(b"\n", b" ")
    try:
        return _RAW.decode(text)
    except (msgspec.DecodeError, RecursionError):
        pass  # a lone surrogate is legal (RFC 8259, 8.2)
    try:
        object_of(text)
    except ValueError:
        return body.decode("utf-8", "replace")
    return Raw(text)
