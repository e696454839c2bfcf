"""The parts that spans are made of: ids, times, attributes, in the JSON form of OTLP 1.x.

An id follows from the call and what the span is of, so whoever needs it early, such as an upstream that is told its
parent, comes to the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from proxy.types import Outcome

Value = str | int | float | bool
Attributes = dict[str, Value]
Span = dict[str, object]

INTERNAL, SERVER, CLIENT = 1, 2, 3  # of OTLP's `SpanKind`
NANOS: Final = 1_000_000_000


def span_id(call_id: str, target: str, number: int = 1) -> str:
    """16 hexadecimal digits, the same for whoever asks: the upstream is told them before the span is made."""
    name = f"{call_id}/{target}" if number == 1 else f"{call_id}/{target}/{number}"
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def span(outcome: Outcome, id: str, parent: str, name: str, kind: int) -> Span:
    return {"traceId": outcome.call.trace_id, "spanId": id, "parentSpanId": parent, "name": name, "kind": kind}


def timed(span: Span, outcome: Outcome, at: float, for_s: float) -> None:
    span["startTimeUnixNano"], span["endTimeUnixNano"] = times(outcome, at, for_s)


def times(outcome: Outcome, at: float, for_s: float) -> tuple[str, str]:
    """Wall time of an instant of the loop's clock; 64-bit numbers are text in OTLP's JSON."""
    begins = outcome.call.arrived_wall + (at - outcome.call.arrived_at)
    return str(round(begins * NANOS)), str(round((begins + for_s) * NANOS))


def listed(attributes: Mapping[str, Value]) -> list[Span]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def add(span: Span, attributes: Mapping[str, Value]) -> None:
    """To a span that has some already."""
    there = span.get("attributes")
    span["attributes"] = [*(there if isinstance(there, list) else ()), *listed(attributes)]


def _value(value: Value) -> Span:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value}
