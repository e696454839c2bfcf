"""Several answers to one chat: the request that shows a model what others have answered, and a reply that says how a
vote over it went.

The client's own messages stay the bytes they were; a turn with the model's own last answer and one with those of the
others follow them. How much of an answer is shown is decided elsewhere. After "Improving Factuality and Reasoning in
Language Models through Multiagent Debate" (Du et al., ICML 2024); the words of the prompt are the gate's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import structs

from proxy.dialects.json_body import dumps, object_of, patch, top_level
from proxy.types import Call

BEFORE: Final = "The same request was also given to others, who know nothing of your answer. This is what they said:"
AFTER: Final = (
    "Compare these with your own answer. Look for mistakes in each, yours included, and then answer the request "
    "once more, completely and in the form it asks for. Do not mention the others."
)
SHOWN: Final = "x_headgate"
_END: Final = b"data: [DONE]"


def debated(call: Call, own: str, others: Sequence[str]) -> Call:
    fields = call.head.fields
    assert fields is not None  # only chats are debated: they are JSON
    messages = bytes(fields["messages"])
    before = messages[: messages.rindex(b"]")]
    comma = b"" if before.strip() == b"[" else b","
    told = "\n\n".join([BEFORE, *[f"[{number}]\n{text}" for number, text in enumerate(others, 1)], AFTER])
    turns = dumps({"role": "assistant", "content": own}) + b"," + dumps({"role": "user", "content": told})
    raw = patch(call.raw, fields, {"messages": before + comma + turns + b"]"})
    head = structs.replace(call.head, fields=top_level(raw), compact=False)
    estimate = call.input_tokens_estimate + (len(turns) + 3) // 4
    return structs.replace(call, raw=raw, head=head, input_tokens_estimate=estimate)


def with_votes(body: bytes, votes: Mapping[str, object]) -> bytes:
    told = dumps({"votes": votes})
    if body.lstrip().startswith(b"{"):
        return patch(body, object_of(body), {SHOWN: told})
    event = b'data: {"object":"chat.completion.chunk","choices":[],"%b":%b}\n\n' % (SHOWN.encode(), told)
    at = body.rfind(_END)
    return body + event if at < 0 else body[:at] + event + body[at:]
