"""Calls whose words may be kept, for tests."""

from __future__ import annotations

from msgspec import json

from proxy.content.heard import Heard, Keeping, Room
from proxy.types import ContentPolicy, Endpoint
from tests.build import call

KEY = "hg-presented/key"
JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"


def heard(
    request: object = None,
    reply: bytes = b"{}",
    *,
    policy: ContentPolicy = "redacted",
    kind: str = JSON,
    endpoint: Endpoint = "chat",
    keeping: Keeping | None = None,
    room: Room | None = None,
) -> Heard:
    raw = request if isinstance(request, bytes) else json.encode(request or {"messages": []})
    made = Heard(
        call(raw=raw, endpoint=endpoint),
        keeping or Keeping(policy),
        room or Room(),
        headers={"user-agent": "agent/1"},
        presented=(KEY,),
    )
    made.status, made.content_type, made.complete = 200, kind, True
    made.add(reply)
    return made


def says(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


def event(**delta: object) -> bytes:
    return b"data: " + json.encode({"choices": [{"index": 0, "delta": delta}]}) + b"\n\n"
