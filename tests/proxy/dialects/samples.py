"""Calls, targets and streams that the dialect tests share."""

from __future__ import annotations

import json

from proxy.dialects.base import Passage
from proxy.dialects.openai_chat import OpenAI
from proxy.errors import ProxyError
from proxy.types import Call, Endpoint, Identity, Target, Traits

OPENAI = OpenAI()
TARGET = Target(id="up/m-1", provider="up", model="m-1", price=None)
SILENT = Target(id="up/m-1", provider="up", model="m-1", price=None, traits=Traits(stream_usage=False))

BODIES: dict[Endpoint, dict[str, object]] = {
    "chat": {"model": "m", "messages": [], "stream": True},
    "completions": {"model": "m", "prompt": "x", "stream": True},
    "embeddings": {"model": "m", "input": "x"},
}


def call(endpoint: Endpoint = "chat", raw: bytes | None = None, content_type: str = "application/json") -> Call:
    if raw is None:
        raw = json.dumps(BODIES.get(endpoint, {"model": "m", "stream": True})).encode()
    return Call(
        id="c",
        endpoint=endpoint,
        dialect="openai",
        route="m",
        head=OPENAI.read(endpoint, raw, content_type),
        raw=raw,
        identity=Identity(key_id="k", agent="a"),
        arrived_at=0.0,
        arrived_wall=0.0,
        deadline=60.0,
        input_tokens_estimate=1,
        trace_id="0" * 32,
    )


def chat(**changes: object) -> Call:
    return call("chat", json.dumps(BODIES["chat"] | changes).encode())


def event(payload: object) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def delta(text: str | None = "hi", *, index: int = 0, finish: str | None = None, **more: object) -> bytes:
    choice = {"index": index, "delta": {"content": text} | more, "finish_reason": finish}
    return event({"id": "x", "model": "m-1-0", "choices": [choice]})


DONE = b"data: [DONE]\n\n"


USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
USAGE_EVENT = event({"id": "x", "choices": [], "usage": USAGE})
ERROR_EVENT = event({"error": {"message": "no", "type": "server_error", "param": None, "code": None}})


def run(passage: Passage, pieces: list[bytes]) -> bytes:
    return b"".join(map(passage.feed, pieces)) + passage.close()


def facts(passage: Passage) -> dict[str, object]:
    fault = passage.fault
    return {
        "content": passage.content,
        "finished": passage.finished,
        "terminal": passage.terminal,
        "usage": passage.usage,
        "fault": None if fault is None else (fault.code, fault.status, fault.message),
        "model": passage.model,
        "tier": passage.tier,
        "tokens": passage.output_tokens_seen(),
        "text": passage.text(),
    }


def outcome(passage: Passage, pieces: list[bytes]) -> tuple[object, dict[str, object]]:
    """What a stream does, whole or refused, as a value that two runs can be compared by."""
    try:
        out: object = run(passage, pieces)
    except ProxyError as error:
        out = (error.code, error.message)
    return out, facts(passage)
