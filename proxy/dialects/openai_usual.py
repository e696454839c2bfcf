"""The usual forms of a chat reply, of a chunk of its stream and of their usage, each read by one typed decode.

Decides only whether a body has the usual form; what it means otherwise is said by the general readers in
`openai_reply`, `openai_passage` and `openai_usage`. OpenAI API reference, "The chat completion object".

Theory: to decode everything and look at a few fields of it costs several times what a decode by type costs, so the
types come first. They are narrow on purpose: whatever the general readers would treat in a special way (an error, a
list of content parts, a count that is no count, a usage field from another vendor) does not fit them and is left to
those readers. So both ways agree wherever the types fit, and a property test holds them to it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from proxy.dialects.openai_usage import COUNT_MAX
from proxy.dialects.sse import is_one_line
from proxy.types import Usage

Count = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
_BEGIN = b"data: {"


class _InputParts(Struct, forbid_unknown_fields=True, gc=False):
    cached_tokens: Count | None = None
    audio_tokens: Count | None = None
    text_tokens: Count | None = None


class _OutputParts(Struct, forbid_unknown_fields=True, gc=False):
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None
    text_tokens: Count | None = None
    accepted_prediction_tokens: Count | None = None
    rejected_prediction_tokens: Count | None = None


_NO_INPUT_PARTS, _NO_OUTPUT_PARTS = _InputParts(), _OutputParts()


class UsualUsage(Struct, forbid_unknown_fields=True, gc=False):
    """Counts of which nothing is missing and nothing contradicts another."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: _InputParts | None = None
    completion_tokens_details: _OutputParts | None = None

    def usage(self) -> Usage | None:
        """None if the parts and sums disagree."""
        ins = self.prompt_tokens_details or _NO_INPUT_PARTS
        outs = self.completion_tokens_details or _NO_OUTPUT_PARTS
        cached, heard = ins.cached_tokens or 0, ins.audio_tokens or 0
        reasoning, spoken = outs.reasoning_tokens or 0, outs.audio_tokens or 0
        fresh = self.prompt_tokens - cached - heard
        output = self.completion_tokens - reasoning - spoken
        if fresh < 0 or output < 0 or self.total_tokens != self.prompt_tokens + self.completion_tokens:
            return None
        return Usage(fresh, cached, 0, 0, heard, 0, output, reasoning, spoken)


class Said(Struct, gc=False):
    """What a model generated in a delta; in these two types stands every name that the general reader looks at."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Part] | None = None
    reasoning_details: None = None
    function_call: None = None
    audio: None = None

    def texts(self) -> list[str]:
        """Without the empty ones, in no particular order."""
        found = [text for text in (self.content, self.reasoning_content, self.reasoning, self.refusal) if text]
        for part in self.tool_calls or ():
            found += part.texts()
        return found


class Part(Said, gc=False):
    """What a model generated in a message or in a piece of a tool call."""

    name: str | None = None
    arguments: str | None = None
    function: Part | None = None
    text: None = None
    transcript: None = None
    summary: None = None
    delta: None = None

    def texts(self) -> list[str]:
        found = Said.texts(self)
        if self.name or self.arguments:
            found += (self.name or "", self.arguments or "")
        return found if self.function is None else found + self.function.texts()


class Choice(Struct, gc=False):
    message: Part | None = None
    text: str | None = None
    finish_reason: str | None = None

    def texts(self) -> list[str]:
        found = self.message.texts() if self.message is not None else []
        return [*found, self.text] if self.text else found


class ChunkChoice(Struct, gc=False):
    delta: Said | None = None
    text: str | None = None
    finish_reason: str | None = None
    index: int = 0

    def texts(self) -> list[str] | None:
        """None if nothing was generated; a tool call without a text yet is something."""
        if self.delta is not None:
            return self.delta.texts() or ([] if self.delta.tool_calls else None)
        return [self.text] if self.text else None


class UsualReply(Struct, gc=False):
    choices: list[Choice]
    usage: UsualUsage | None = None
    service_tier: str | None = None
    object: Literal["chat.completion", "text_completion"] | None = None
    error: None = None


class UsualChunk(Struct, gc=False):
    choices: list[ChunkChoice]
    usage: UsualUsage | None = None
    model: str | None = None
    service_tier: str | None = None
    object: Literal["chat.completion.chunk", "text_completion"] | None = None
    error: None = None
    x_groq: None = None


_REPLY = msgspec.json.Decoder(UsualReply)
_CHUNK = msgspec.json.Decoder(UsualChunk)


def usual_reply(body: bytes) -> UsualReply | None:
    """Raises UnicodeDecodeError for a body that is not UTF-8: values that are skipped are not looked at."""
    if not body.isascii():
        body.decode()
    try:
        return _REPLY.decode(body)
    except (ValueError, RecursionError):
        return None


def usual_chunk(event: bytes) -> UsualChunk | None:
    """Only of an event of one line."""
    if not (event.startswith(_BEGIN) and is_one_line(event)):
        return None
    try:
        return _CHUNK.decode(event[6:])  # the line ends are white space to JSON
    except (ValueError, RecursionError):
        return None
