"""One call as spans: what the gate did as a server, and one client span for each attempt at an upstream.

Made from the call's `Outcome` once it has ended, in the JSON form of OTLP 1.x; names and attributes follow
OpenTelemetry's semantic conventions for generative AI (in development, as of 1.37). Langfuse and OpenInference read
attributes of their own, which are added where they are asked for. No prompt and no answer is in any of them. A hedge
that lost is no error: its status stays unset, and it says that it was cancelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Final, Literal

from msgspec import json

from proxy.types import Attempt, Outcome

Profile = Literal["genai", "langfuse", "openinference"]
Value = str | int | float | bool
Attributes = dict[str, Value]
Span = dict[str, object]

SERVER, CLIENT = 2, 3  # of OTLP's `SpanKind`
ERROR: Final = 2  # of its `StatusCode`
OPERATIONS: Final[Mapping[str, str]] = {
    "chat": "chat",
    "completions": "text_completion",
    "responses": "chat",
    "embeddings": "embeddings",
}
NANOS: Final = 1_000_000_000
EVENTS_MAX: Final = 32


def spans(outcome: Outcome, profiles: tuple[Profile, ...]) -> list[Span]:
    """The server's first."""
    call = outcome.call
    root = span_id(call.id, "")
    server = _span(outcome, root, call.parent_span, f"{call.endpoint} {call.model}".rstrip(), SERVER)
    server["startTimeUnixNano"], server["endTimeUnixNano"] = _times(outcome, call.arrived_at, outcome.duration_s)
    server["attributes"] = _listed(_of_call(outcome, profiles))
    server["events"] = list(_events(outcome))
    if outcome.status >= 500 or outcome.error_source in ("upstream", "proxy", "store"):
        server["status"] = {"code": ERROR, "message": outcome.error_code or str(outcome.status)}
    return [server, *(_attempt(outcome, each, root, profiles) for each in outcome.attempts)]


def span_id(call_id: str, target: str, number: int = 1) -> str:
    """16 hexadecimal digits, the same for whoever asks: the upstream is told them before the span is made."""
    name = f"{call_id}/{target}" if number == 1 else f"{call_id}/{target}/{number}"
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _attempt(outcome: Outcome, attempt: Attempt, root: str, profiles: tuple[Profile, ...]) -> Span:
    call, target = outcome.call, attempt.target
    first = next(each for each in outcome.attempts if each.target.id == target.id)
    id = span_id(call.id, target.id, 1 if first is attempt else attempt.number)
    span = _span(outcome, id, root, f"{_operation(outcome)} {target.model}", CLIENT)
    span["startTimeUnixNano"], span["endTimeUnixNano"] = _times(outcome, attempt.started_at, attempt.duration_s)
    span["attributes"] = _listed(_of_attempt(outcome, attempt, profiles))
    if attempt.error_code is not None and attempt.lesson != "ignore":
        span["status"] = {"code": ERROR, "message": attempt.error_code}
    return span


def _span(outcome: Outcome, id: str, parent: str, name: str, kind: int) -> Span:
    return {"traceId": outcome.call.trace_id, "spanId": id, "parentSpanId": parent, "name": name, "kind": kind}


def _of_call(outcome: Outcome, profiles: tuple[Profile, ...]) -> Attributes:
    call, who = outcome.call, outcome.call.identity
    found: Attributes = {
        "gen_ai.operation.name": _operation(outcome),
        "gen_ai.request.model": call.model,
        "gen_ai.agent.name": who.agent,
        "http.response.status_code": outcome.status,
        "headgate.request_id": call.id,
        "headgate.route": call.route,
        "headgate.served_by": outcome.served_by,
        "headgate.attempts": len(outcome.attempts),
        "headgate.upstream_s": round(outcome.upstream_s, 6),
    }
    if who.run is not None:
        found["gen_ai.conversation.id"] = who.run
    if outcome.error_code is not None:
        found["error.type"] = outcome.error_code
    if outcome.first_event_s is not None:
        found["gen_ai.server.time_to_first_token"] = round(outcome.first_event_s, 6)
    if outcome.reused is not None:
        found["headgate.cache"] = outcome.reused.cache
    if (cost := outcome.cost_usd_nanos) is not None:
        found["headgate.cost_usd"] = cost / NANOS
    if "langfuse" in profiles:
        found["langfuse.trace.name"] = f"{who.agent} {call.model}"
        found["langfuse.user.id"] = who.key_id[:200]
        if who.run is not None:
            found["langfuse.session.id"] = who.run[:200]
    if "openinference" in profiles:
        found["openinference.span.kind"] = "CHAIN"
        found["agent.name"] = who.agent
        if who.run is not None:
            found["session.id"] = who.run
    return found


def _of_attempt(outcome: Outcome, attempt: Attempt, profiles: tuple[Profile, ...]) -> Attributes:
    target, usage = attempt.target, attempt.usage
    found: Attributes = {
        "gen_ai.operation.name": _operation(outcome),
        "gen_ai.provider.name": target.provider,
        "gen_ai.request.model": target.model,
        "headgate.role": attempt.role,
        "headgate.target": target.id,
    }
    if attempt.status is not None:
        found["http.response.status_code"] = attempt.status
    if attempt.error_code is not None:
        found["error.type"] = attempt.error_code
    if attempt.upstream_request_id is not None:
        found["gen_ai.response.id"] = attempt.upstream_request_id
    if usage is not None:
        found["gen_ai.usage.input_tokens"] = usage.input_total
        found["gen_ai.usage.output_tokens"] = usage.output_total
        found["headgate.usage.cached_tokens"] = usage.input_cached
        found["headgate.usage.source"] = usage.source
    if attempt.cost_usd_nanos is not None:
        found["headgate.cost_usd"] = attempt.cost_usd_nanos / NANOS
    if attempt.role == "hedge":
        found["headgate.hedge.won"] = outcome.served_by == "hedge"
    if attempt.lesson == "ignore" and attempt.error_code is None:
        found["headgate.cancelled"] = True
    if "langfuse" in profiles:
        found |= _langfuse(attempt)
    if "openinference" in profiles:
        found |= _openinference(attempt)
    return found


def _langfuse(attempt: Attempt) -> Attributes:
    found: Attributes = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": attempt.target.model,
    }
    if attempt.usage is not None:
        usage = {"input": attempt.usage.input_total, "output": attempt.usage.output_total}
        found["langfuse.observation.usage_details"] = json.encode(usage).decode()
    if attempt.cost_usd_nanos is not None:
        found["langfuse.observation.cost_details"] = json.encode({"total": attempt.cost_usd_nanos / NANOS}).decode()
    return found


def _openinference(attempt: Attempt) -> Attributes:
    found: Attributes = {
        "openinference.span.kind": "LLM",
        "llm.model_name": attempt.target.model,
        "llm.provider": attempt.target.provider,
    }
    if attempt.usage is not None:
        found["llm.token_count.prompt"] = attempt.usage.input_total
        found["llm.token_count.completion"] = attempt.usage.output_total
        found["llm.token_count.total"] = attempt.usage.input_total + attempt.usage.output_total
    return found


def _events(outcome: Outcome) -> Iterator[Span]:
    for decision in outcome.decisions[:EVENTS_MAX]:
        at, _ = _times(outcome, decision.at, 0.0)
        yield {"timeUnixNano": at, "name": "decision", "attributes": _listed({"headgate.said": decision.said})}


def _operation(outcome: Outcome) -> str:
    return OPERATIONS.get(outcome.call.endpoint, outcome.call.endpoint)


def _times(outcome: Outcome, at: float, for_s: float) -> tuple[str, str]:
    """Wall time of an instant of the loop's clock; 64-bit numbers are text in OTLP's JSON."""
    begins = outcome.call.arrived_wall + (at - outcome.call.arrived_at)
    return str(round(begins * NANOS)), str(round((begins + for_s) * NANOS))


def _listed(attributes: Attributes) -> list[Span]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Value) -> Span:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value}
