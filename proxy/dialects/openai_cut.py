"""The end of a stream that the gate cut because the money for it was used up: proper, short, and marked as ours.

A client sees what it sees when a model reaches its output limit: `length`, or `max_output_tokens`. The field
`x_headgate` beside it says whose limit it was. Names are taken from the stream's first event, so that the end belongs
to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from proxy.dialects.json_body import dumps, loads
from proxy.dialects.sse import fields_of
from proxy.types import Call, Usage

MARK = {"cut": "budget"}
_OWN_TO_THE_STREAM = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


def chunks_end(call: Call, opening: bytes, *, open_choices: Iterable[int], usage: Usage) -> bytes:
    """Of chat completions and completions: the last chunk of each choice, the usage if it was asked for, the end."""
    return b"".join((*_chunks(call, _payload(opening), open_choices, usage), b"data: [DONE]\n\n"))


def response_end(opening: bytes, usage: Usage) -> bytes:
    """Of the responses endpoint."""
    begun = _payload(opening).get("response")
    response = {
        **(begun if isinstance(begun, dict) else {}),
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "usage": {
            "input_tokens": usage.input_total,
            "output_tokens": usage.output_total,
            "total_tokens": usage.input_total + usage.output_total,
        },
    }
    event = {"type": "response.incomplete", "response": response, "x_headgate": MARK}
    return b"event: response.incomplete\ndata: " + dumps(event) + b"\n\n"


def _chunks(call: Call, begun: dict[str, Any], open_choices: Iterable[int], usage: Usage) -> Iterator[bytes]:
    common = {name: begun[name] for name in _OWN_TO_THE_STREAM if name in begun}
    said: dict[str, Any] = {"delta": {}} if call.endpoint == "chat" else {"text": ""}
    for index in open_choices:
        choice = {"index": index, **said, "logprobs": None, "finish_reason": "length"}
        yield _data({**common, "choices": [choice], "x_headgate": MARK})
    if call.head.include_usage:
        figures = {
            "prompt_tokens": usage.input_total,
            "completion_tokens": usage.output_total,
            "total_tokens": usage.input_total + usage.output_total,
        }
        yield _data({**common, "choices": [], "usage": figures})


def _payload(event: bytes) -> dict[str, Any]:
    try:
        payload = loads(fields_of(event)[1])
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


def _data(payload: dict[str, Any]) -> bytes:
    return b"data: " + dumps(payload) + b"\n\n"
