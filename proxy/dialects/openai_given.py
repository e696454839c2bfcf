"""A reply that the gate itself makes from a text it has: an answer that ended before it was done.

Only of the endpoints that talk. Its figures are zeros, because nothing was asked of a model; `length` as the reason of
its end tells every client that there would have been more. OpenAI API reference, "The chat completion object".
"""

from __future__ import annotations

from proxy.dialects.base import Reply
from proxy.dialects.json_body import dumps
from proxy.dialects.openai_reply import stream_of
from proxy.types import Call

USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def given(call: Call, text: str) -> bytes | None:
    """The whole body; of a call that streams all events. None: its endpoint has no such reply."""
    if call.endpoint == "chat":
        kind = "chat.completion"
        choice: dict[str, object] = {"message": {"role": "assistant", "content": text}}
    elif call.endpoint == "completions":
        kind, choice = "text_completion", {"text": text}
    else:
        return None
    whole = {
        "id": f"headgate-{call.id}",
        "object": kind,
        "created": int(call.arrived_wall),
        "model": call.model,
        "choices": [{"index": 0, **choice, "finish_reason": "length"}],
        "usage": USAGE,
    }
    body = dumps(whole)
    return stream_of(call, Reply(body, None)) if call.head.stream else body
