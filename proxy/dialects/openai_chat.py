"""The OpenAI dialect as one object, for every endpoint of its family.

Only says which part of the codec answers which question; the parts stand beside it: request, passage, splice, reply,
fold, error. It has no state, so one instance serves all calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from proxy.dialects.base import Passage, Reply
from proxy.dialects.openai_demanded import demanded, revised, tool_errors
from proxy.dialects.openai_error import client_error, error_event, failure
from proxy.dialects.openai_fold import reply_of, so_far
from proxy.dialects.openai_given import given
from proxy.dialects.openai_passage import ChatPassage, PlainPassage
from proxy.dialects.openai_reply import reply_from, stream_of
from proxy.dialects.openai_request import read, write
from proxy.dialects.openai_responses import ResponsesPassage
from proxy.dialects.openai_said import said
from proxy.dialects.openai_splice import SplicedPassage, Transcript, continuing
from proxy.dialects.openai_turns import turns
from proxy.dialects.openai_votes import debated, with_votes
from proxy.errors import ProxyError
from proxy.observed import Begun, Demand, Mark, Said, Turns
from proxy.types import Call, Endpoint, Head, Target


class OpenAI:
    """Implements `base.Dialect`."""

    name = "openai"

    def read(self, endpoint: Endpoint, raw: bytes, content_type: str) -> Head:
        return read(endpoint, raw, content_type)

    def demanded(self, call: Call) -> Demand:
        return demanded(call)

    def tool_errors(self, call: Call) -> tuple[tuple[str, str], ...]:
        return tool_errors(call)

    def turns(self, call: Call, mark: Mark | None) -> Turns:
        return turns(call, mark)

    def revised(self, call: Call, draft: str, reason: str) -> Call | None:
        return revised(call, draft, reason)

    def write(self, call: Call, target: Target, output_limit: int | None = None) -> bytes:
        return write(call, target, output_limit)

    def passage(self, call: Call, target: Target) -> Passage:
        if (begun := call.head.begun) is not None and begun.opening:
            return SplicedPassage(call, target, begun)
        if call.endpoint in ("chat", "completions"):
            return ChatPassage(call, target)
        return ResponsesPassage(call, target) if call.endpoint == "responses" else PlainPassage(call, target)

    def transcript(self) -> Transcript:
        return Transcript()

    def continuing(self, call: Call, begun: Begun) -> Call:
        return continuing(call, begun)

    def reply(self, call: Call, body: bytes) -> Reply:
        return reply_from(call, body)

    def said(self, body: bytes) -> tuple[Said, ...]:
        return said(body)

    def so_far(self, endpoint: Endpoint, stream: bytes) -> object:
        return so_far(endpoint, stream)

    def given(self, call: Call, text: str) -> bytes | None:
        return given(call, text)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> ProxyError:
        return failure(status, headers, body)

    def debated(self, call: Call, own: str, others: Sequence[str]) -> Call:
        return debated(call, own, others)

    def with_votes(self, body: bytes, votes: Mapping[str, object]) -> bytes:
        return with_votes(body, votes)

    def error(self, error: ProxyError) -> tuple[int, bytes]:
        return client_error(error)

    def error_event(self, error: ProxyError, endpoint: Endpoint = "chat") -> bytes:
        return error_event(error, endpoint)

    def stream_of(self, call: Call, reply: Reply) -> bytes:
        return stream_of(call, reply)

    def reply_of(self, call: Call, stream: bytes) -> Reply:
        return reply_of(call, stream)
