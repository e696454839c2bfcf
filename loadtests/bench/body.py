"""What the benchmark's agents send: a chat with a system prompt, a tool, and turns up to a given size.

Compact JSON, as SDKs write it. `@NUMBER@` and, in a stream, `@CHUNKS@` are filled in by whoever sends it.
"""

from __future__ import annotations

import itertools
import json

SMALL_BYTES = 1536
LARGE_BYTES = 30 * 1024

SYSTEM = "You plan trips for a sales team. Use the tools, answer in one paragraph, and say when you are not sure."
TOOL = {
    "type": "function",
    "function": {
        "name": "search_flights",
        "description": "Finds flights between two airports on a day.",
        "parameters": {
            "type": "object",
            "properties": {
                "from": {"type": "string"},
                "to": {"type": "string"},
                "day": {"type": "string", "format": "date"},
            },
            "required": ["from", "to", "day"],
        },
    },
}
TURNS = (
    (
        "user",
        'Is there anything before ten o\'clock, and what does it cost with one bag? The customer said: "not later".',
    ),
    ("assistant", "There are three flights before ten. The cheapest leaves at 06:55 and costs 148 EUR with one bag."),
    ("user", "That is too early for the two colleagues from Zürich; please look again, also from the second airport."),
    ("assistant", "From the second airport there is one at 09:40 for 171 EUR. The way there takes 25 minutes more."),
)


def chat(size: int) -> bytes:
    """About `size` bytes, not streamed."""
    return _compact({"stream": False, "max_tokens": 400, "temperature": 0.2}, size)


def chat_stream(size: int) -> bytes:
    """With usage asked for, as agents do that count; the answer has `@CHUNKS@` chunks."""
    options = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": "@CHUNKS@"}
    return _compact(options, size).replace(b'"@CHUNKS@"', b"@CHUNKS@")


def _compact(options: dict[str, object], size: int) -> bytes:
    messages = [{"role": "system", "content": SYSTEM}]
    head = {"user": "@NUMBER@", "model": "bench", **options, "tools": [TOOL], "messages": messages}
    for role, content in itertools.cycle(TURNS):
        body = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
        if len(body) + len(content) > size:
            return body
        messages.append({"role": role, "content": content})
    raise AssertionError("unreachable: the turns repeat for ever")
