"""One chat stream joined from two: what the first has said, the call that asks for the rest, and the rest as it must be
told so that a client sees one answer.

Decides which text counts as said (that of whole events which were handed on, and nothing else) and what of a second
stream would betray or double the first: its names, its role, its count of tokens. Whether a stream may be continued at
all is a policy's word. The request fields are those of vLLM and SGLang, "Chat completions", `continue_final_message`.

The client's usage is the sum that it would have seen from one upstream: what the second took as input, but the first
had made, counts as output.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import structs

from proxy.dialects.json_body import dumps, loads, patch, top_level
from proxy.dialects.openai_passage import ChatPassage
from proxy.dialects.openai_text import GENERATED, utf8_length
from proxy.dialects.sse import DONE, LINE_END, Splitter, fields_of
from proxy.errors import ProxyError
from proxy.observed import Begun
from proxy.types import Call, Target, Usage

UNREAD_MAX: Final = 16 * 1024  # bytes of events that wait to be read: most streams end before anybody needs their text
TEXT_BYTES_MAX: Final = 1024 * 1024
TOKEN_BYTES_MAX: Final = 8  # events with more text than this hold more than one token each
LIMITS: Final = ("max_completion_tokens", "max_tokens")
FIRST_STREAMS_OWN: Final = ("id", "created", "model")
TRUE, FALSE = b"true", b"false"


class Transcript:
    """Implements `base.Transcript`: reads what it was given as late as it can."""

    __slots__ = ("_bytes", "_contents", "_opening", "_texts", "_unread", "_unread_bytes", "_why_not")

    def __init__(self) -> None:
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._texts: list[str] = []
        self._bytes = 0
        self._contents = 0  # events with text
        self._opening = b""
        self._why_not = ""

    def __repr__(self) -> str:
        return f"Transcript({self._bytes} bytes of text, {self._unread_bytes} unread, {self._why_not!r})"

    def add(self, events: bytes) -> None:
        if self._why_not:
            return
        self._unread.append(events)
        self._unread_bytes += len(events)
        if self._unread_bytes > UNREAD_MAX:
            self._read()

    def begun(self) -> Begun | str:
        self._read()
        if self._why_not:
            return self._why_not
        if not self._texts:
            return "it had said nothing"
        return Begun("".join(self._texts), self._tokens(), self._opening)

    def _tokens(self) -> int:
        """Engines send a token an event, unless they are in a hurry."""
        one_each = self._bytes <= TOKEN_BYTES_MAX * self._contents
        return self._contents if one_each else (self._bytes + 3) // 4

    def _read(self) -> None:
        unread = b"".join(self._unread)
        self._unread.clear()
        self._unread_bytes = 0
        splitter = Splitter()
        try:
            for event in (*splitter.feed(unread), splitter.close()):
                if not self._why_not:
                    self._take(fields_of(event)[1], event)
        except (ProxyError, ValueError):
            self._why_not = "it said something that cannot be read"
        if self._why_not:
            self._texts.clear()  # nobody will go on with it

    def _take(self, data: bytes, event: bytes) -> None:
        if not data:
            return
        if data.strip() == DONE:
            self._why_not = "it was whole"
            return
        payload = loads(data)
        choices = payload.get("choices") if isinstance(payload, dict) else None
        if not isinstance(choices, list):
            raise ValueError("no chunk")
        for choice in choices:
            self._opening = self._opening or event
            self._choose(choice)

    def _choose(self, choice: Any) -> None:
        delta = (choice.get("delta") or {}) if isinstance(choice, dict) else None
        if not isinstance(delta, dict):
            raise ValueError("no choice")
        if choice.get("finish_reason"):
            self._why_not = "the model had finished"
        elif choice.get("index", 0) != 0 or choice.get("logprobs"):
            self._why_not = "it is more than one text"
        for name in GENERATED:
            if delta.get(name) and name != "content":
                self._why_not = f"it had begun with {name}"
        text = delta.get("content")
        if text is not None and not isinstance(text, str):
            raise ValueError("no text")
        if text:
            self._texts.append(text)
            self._contents += 1
            self._bytes += utf8_length(text)
        if self._bytes > TEXT_BYTES_MAX:
            self._why_not = "it is too long"


def continuing(call: Call, begun: Begun) -> Call:
    """The call that asks an engine for what follows after `begun`."""
    fields = call.head.fields
    assert fields is not None  # only chats are continued: they are JSON
    messages = bytes(fields["messages"])
    before = messages[: messages.rindex(b"]")]
    comma = b"" if before.strip() == b"[" else b","
    said = dumps({"role": "assistant", "content": begun.text})
    stated = {name: limit for name in LIMITS if (limit := _limit(fields.get(name))) is not None}
    raw = patch(
        call.raw,
        fields,
        {
            "messages": before + comma + said + b"]",
            "continue_final_message": TRUE,
            "add_generation_prompt": FALSE,
            **{name: b"%d" % max(1, limit - begun.tokens) for name, limit in stated.items()},
        },
    )
    most = call.head.output_tokens_max
    head = structs.replace(
        call.head,
        fields=top_level(raw),
        output_tokens_max=None if most is None else max(1, most - begun.tokens),
        begun=begun,
    )
    estimate = call.input_tokens_estimate + (utf8_length(begun.text) + 3) // 4
    return structs.replace(call, raw=raw, head=head, input_tokens_estimate=estimate, hedged=False)


def _limit(raw: msgspec.Raw | None) -> int | None:
    value = None if raw is None else loads(raw)
    return value if isinstance(value, int) else None


class SplicedPassage(ChatPassage):
    """The rest of a reply. What it hands out follows what the client has; the first of it says who goes on."""

    __slots__ = ("_begun", "_names", "_told", "_who")

    def __init__(self, call: Call, target: Target, begun: Begun) -> None:
        super().__init__(call, target)
        self._begun = begun
        self._opening = begun.opening
        opened = loads(fields_of(begun.opening)[1])
        self._names = {name: opened[name] for name in FIRST_STREAMS_OWN if name in opened}
        self._who = target.id
        self._told = False

    def cut(self, usage: Usage) -> bytes:
        moved = min(self._begun.tokens, usage.input_uncached)
        return super().cut(
            structs.replace(usage, input_uncached=usage.input_uncached - moved, output=usage.output + moved)
        )

    def _reads_all(self) -> bool:
        return True  # every event is written anew

    def _take(self, event: bytes) -> bytes:
        out = super()._take(event)
        return b"" if not out or out[0] in LINE_END else self._fitted(out)

    def _fitted(self, event: bytes) -> bytes:
        data = fields_of(event)[1]
        if not data or data.strip() == DONE:
            return event.strip(LINE_END) + b"\n\n"
        chunk = loads(data)
        if not isinstance(chunk, dict) or self._only_a_role(chunk):
            return b""
        for name in FIRST_STREAMS_OWN:
            chunk.pop(name, None)
        chunk = {**self._names, **chunk}
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            chunk["usage"] = _summed(usage, self._begun.tokens)
        if not self._told:
            self._told, chunk["x_headgate"] = True, {"continued": self._who}
        return b"data: " + dumps(chunk) + b"\n\n"

    def _only_a_role(self, chunk: dict[str, Any]) -> bool:
        """Takes the role away: the client has one. Whether nothing else was in the chunk."""
        said = False
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if isinstance(delta, dict) and delta.pop("role", None) is not None:
                said = said or not (any(map(delta.get, GENERATED)) or choice.get("finish_reason"))
        return said


def _summed(usage: dict[str, Any], made: int) -> dict[str, Any]:
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int:
        return usage
    moved = min(made, prompt)
    shown = {**usage, "prompt_tokens": prompt - moved, "completion_tokens": completion + moved}
    details = usage.get("prompt_tokens_details")
    if isinstance(details, dict) and type(cached := details.get("cached_tokens")) is int:
        shown["prompt_tokens_details"] = {**details, "cached_tokens": min(cached, prompt - moved)}
    return shown
