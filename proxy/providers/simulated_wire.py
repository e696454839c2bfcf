"""The simulated upstream's side of OpenAI's wire format: the fields of a request it reads, the replies it writes.

Replies have the form of the real ones (OpenAI API reference: chat, completions, embeddings, responses, models). What
they say is decided elsewhere; streams are in `simulated_stream`.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping

from msgspec import DecodeError, Raw, Struct, ValidationError
from msgspec.json import Decoder, encode

from proxy.providers.simulated_answer import Answer, Draw, Format, Function, Tool
from proxy.providers.simulated_reply import Bill

Json = Mapping[str, object]
DIMENSIONS = 256
DIMENSIONS_MAX = 4096
CHOICES_MAX = 8
BYTES_PER_TOKEN = 4


class StreamOptions(Struct, frozen=True):
    include_usage: bool = False


class Role(Struct, frozen=True):
    role: str | None = None
    type: str | None = None


class Question(Struct, frozen=True):
    """A request of any endpoint; what is not named here is not understood and not refused."""

    model: str
    messages: list[Raw] | None = None
    input: Raw = Raw(b'""')
    prompt: Raw = Raw(b'""')
    tools: list[Tool] | None = None
    tool_choice: Raw = Raw(b'"auto"')
    response_format: Format | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    dimensions: int | None = None
    encoding_format: str | None = None

    @property
    def tokens_max(self) -> int | None:
        limits = (self.max_completion_tokens, self.max_tokens, self.max_output_tokens)
        return next((limit for limit in limits if limit is not None), None)

    @property
    def choices(self) -> int:
        return min(max(self.n or 1, 1), CHOICES_MAX)

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def text(self) -> bytes:
        """All that the model reads, in an order in which two turns of one conversation begin alike."""
        tools = encode([tool.function.name for tool in self.tools if tool.function]) if self.tools else b""
        return tools + b"\n".join(map(bytes, [*(self.messages or []), self.prompt, self.input]))

    def functions(self) -> list[Function]:
        """The tools it may call now: all that are offered, the one that is named, or none."""
        offered = [tool.function for tool in self.tools or [] if tool.function is not None]
        choice = bytes(self.tool_choice)
        if choice == b'"none"':
            return []
        named = [function for function in offered if b'"%b"' % function.name.encode() in choice]
        return named or offered

    @property
    def must_use_tool(self) -> bool:
        return bytes(self.tool_choice) == b'"required"' or bytes(self.tool_choice).startswith(b"{")

    def after_tool(self) -> bool:
        """Whether the conversation ends with the result of a tool."""
        return bool(self.messages) and _ROLE.decode((self.messages or [])[-1]).role == "tool"


class Naming(Struct, frozen=True):
    """What every part of one reply repeats."""

    id: str
    created: int
    model: str


_QUESTION = Decoder(Question)
_ROLE = Decoder(Role)


def question(body: bytes) -> Question | None:
    try:
        asked = _QUESTION.decode(body)
        asked.after_tool()
    except (DecodeError, ValidationError, RecursionError):
        return None
    return asked


def tokens_of(text: bytes) -> int:
    return max(1, -(-len(text) // BYTES_PER_TOKEN))


def error(status: int, message: str) -> bytes:
    kinds = {400: "invalid_request_error", 404: "invalid_request_error", 429: "rate_limit_error"}
    code = "rate_limit_exceeded" if status == 429 else None
    said = {"message": message, "type": kinds.get(status, "server_error"), "param": None, "code": code}
    return encode({"error": said})


def models(names: tuple[str, ...]) -> bytes:
    listed = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulated"} for name in names]
    return encode({"object": "list", "data": listed})


def usage(bill: Bill) -> Json:
    said: dict[str, object] = {"prompt_tokens": bill.prompt_tokens, "total_tokens": bill.prompt_tokens}
    if bill.endpoint != "embeddings":
        said["completion_tokens"] = bill.completion_tokens
        said["total_tokens"] = bill.prompt_tokens + bill.completion_tokens
        said["prompt_tokens_details"] = {"cached_tokens": bill.cached_tokens, "audio_tokens": 0}
        said["completion_tokens_details"] = {"reasoning_tokens": 0, "audio_tokens": 0}
    return said


# --- whole replies


def whole(naming: Naming, answers: list[Answer], bill: Bill) -> bytes:
    if bill.endpoint == "responses":
        return encode(response(naming, answers[0].text, bill))
    return chat(naming, answers, bill) if bill.endpoint == "chat" else completion(naming, answers, bill)


def chat(naming: Naming, answers: list[Answer], bill: Bill) -> bytes:
    choices = [
        {"index": index, "message": _message(naming, answer), "logprobs": None, "finish_reason": answer.finish_reason}
        for index, answer in enumerate(answers)
    ]
    return encode({**head(naming, "chat.completion"), "choices": choices, "usage": usage(bill)})


def completion(naming: Naming, answers: list[Answer], bill: Bill) -> bytes:
    choices = [
        {"index": index, "text": answer.text, "logprobs": None, "finish_reason": answer.finish_reason}
        for index, answer in enumerate(answers)
    ]
    return encode({**head(naming, "text_completion"), "choices": choices, "usage": usage(bill)})


def embeddings(asked: Question, texts: int, *, draw: Draw, bill: Bill) -> bytes:
    size = min(max(asked.dimensions or DIMENSIONS, 1), DIMENSIONS_MAX)
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(draw, size, asked.encoding_format)}
        for index in range(texts)
    ]
    return encode({"object": "list", "data": data, "model": asked.model, "usage": usage(bill)})


def response(naming: Naming, text: str, bill: Bill | None) -> Json:
    """A Responses object; without a bill it is one that has just begun."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    status = "in_progress" if bill is None else "completed"
    item = {"type": "message", "id": f"msg_{naming.id}", "status": status, "role": "assistant", "content": content}
    said: dict[str, object] = {"id": f"resp_{naming.id}", "object": "response", "created_at": naming.created}
    said |= {"status": status, "model": naming.model, "error": None, "output": [] if bill is None else [item]}
    if bill is not None:
        said["usage"] = {
            "input_tokens": bill.prompt_tokens,
            "input_tokens_details": {"cached_tokens": bill.cached_tokens},
            "output_tokens": bill.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": bill.prompt_tokens + bill.completion_tokens,
        }
    return said


def head(naming: Naming, kind: str) -> dict[str, object]:
    prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
    return {"id": f"{prefix}-{naming.id}", "object": kind, "created": naming.created, "model": naming.model}


def _message(naming: Naming, answer: Answer) -> Json:
    if answer.tool is None:
        return {"role": "assistant", "content": answer.text, "refusal": None}
    called = {"name": answer.tool, "arguments": answer.text}
    call = {"id": f"call_{naming.id}", "type": "function", "function": called}
    return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}


def _vector(draw: Draw, size: int, encoding: str | None) -> object:
    raw = [draw.share() - 0.5 for _ in range(size)]
    length = math.sqrt(sum(value * value for value in raw)) or 1.0
    vector = [value / length for value in raw]
    return base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() if encoding == "base64" else vector
