"""One call as spans: what the gate did as a server, what it spent time on before it asked anyone (`inner_spans`), and
one client span for each attempt at an upstream.

Made from the call's `Outcome` once it has ended, in the JSON form of OTLP 1.x; names and attributes follow
OpenTelemetry's semantic conventions for generative AI (in development, as of 1.37). Langfuse and OpenInference read
attributes of their own, which are added where they are asked for. No prompt and no answer is in any of them. A hedge
that lost is no error: its status stays unset, and it says that it was cancelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from msgspec import json

from proxy.telemetry.inner_spans import inner_spans
from proxy.telemetry.span import CLIENT, NANOS, SERVER, Attributes, Span, listed, span, span_id, timed, times
from proxy.types import Attempt, Outcome

Profile = Literal["genai", "langfuse", "openinference"]
ERROR: Final = 2  # of its `StatusCode`
OPERATIONS: Final[Mapping[str, str]] = {
    "chat": "chat",
    "completions": "text_completion",
    "responses": "chat",
    "embeddings": "embeddings",
}
EVENTS_MAX: Final = 32


def spans(outcome: Outcome, profiles: tuple[Profile, ...]) -> list[Span]:
    """The server's first."""
    call = outcome.call
    root = span_id(call.id, "")
    server = span(outcome, root, call.parent_span, f"{call.endpoint} {call.model}".rstrip(), SERVER)
    timed(server, outcome, call.arrived_at, outcome.duration_s)
    server["attributes"] = listed(_of_call(outcome, profiles))
    server["events"] = list(_events(outcome))
    if outcome.status >= 500 or outcome.error_source in ("upstream", "proxy", "store"):
        server["status"] = {"code": ERROR, "message": outcome.error_code or str(outcome.status)}
    attempts = (_attempt(outcome, each, root, profiles) for each in outcome.attempts)
    return [server, *inner_spans(outcome, root), *attempts]


def _attempt(outcome: Outcome, attempt: Attempt, root: str, profiles: tuple[Profile, ...]) -> Span:
    call, target = outcome.call, attempt.target
    first = next(each for each in outcome.attempts if each.target.id == target.id)
    id = span_id(call.id, target.id, 1 if first is attempt else attempt.number)
    made = span(outcome, id, root, f"{_operation(outcome)} {target.model}", CLIENT)
    timed(made, outcome, attempt.started_at, attempt.duration_s)
    made["attributes"] = listed(_of_attempt(outcome, attempt, profiles))
    if attempt.error_code is not None and attempt.lesson != "ignore":
        made["status"] = {"code": ERROR, "message": attempt.error_code}
    return made


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
        at, _ = times(outcome, decision.at, 0.0)
        yield {"timeUnixNano": at, "name": "decision", "attributes": listed({"headgate.said": decision.said})}


def _operation(outcome: Outcome) -> str:
    return OPERATIONS.get(outcome.call.endpoint, outcome.call.endpoint)
