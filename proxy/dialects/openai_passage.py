"""A streamed reply on its way through: which events pass, and what the gate learns from them.

Bytes pass unchanged, whole events at a time. Only two things are taken out: the usage event the client did not ask for,
and what follows an end or an error. It does not decide what happens after a fault; that is its caller's.

Theory: until the first content every event is parsed, because an error or broken JSON may still be answered elsewhere.
From then on a chunk of whole events goes by untouched unless a byte search finds in it what must be read (`loud`). The
same search decides for a single event, so the split of the bytes cannot matter. JSON text cannot fake a name: a quote
inside a string is escaped, so `"usage"` with both quotes is a name or a whole value.
Once `fault` is set after content, the bytes handed out end with an error event: the upstream's own, or ours if it sent
an event that is no JSON; none where another upstream may go on (`Head.begun`). Nothing follows, no end marker either.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any

from proxy.dialects.json_body import loads
from proxy.dialects.openai_cut import chunks_end
from proxy.dialects.openai_error import error_event, fault_of, is_fault
from proxy.dialects.openai_text import GENERATED, texts_in, utf8_length
from proxy.dialects.openai_usage import usage_of
from proxy.dialects.openai_usual import usual_chunk
from proxy.dialects.sse import DONE, LINE_END, Splitter, fields_of
from proxy.errors import ProxyError
from proxy.types import Call, Target, Usage

TEXT_BYTES_MAX = 1024 * 1024
_END_EVENT = b"data: [DONE]\n\n"
_WHOLE = (b"\n\n", b"\r\n\r\n")
_NAMED = re.compile(rb'"(?:usage|finish_reason|error)"(?!: ?null)').search


class StreamPassage(ABC):
    """What all streams share; a subclass says what is loud and what an event means."""

    __slots__ = (
        "_call", "_forwarded", "_kept", "_kept_bytes", "_marked", "_opening", "_smooth", "_splitter",
        "_tokens_per_byte", "content", "events", "fault", "finished", "model", "relayed", "terminal", "tier", "usage",
    )  # fmt: skip

    def __init__(self, call: Call, target: Target) -> None:
        self.content = self.finished = self.terminal = False
        self.usage: Usage | None = None
        self.fault: ProxyError | None = None
        self.model: str | None = None
        self.tier: str | None = None
        self._call = call
        self._splitter = Splitter()
        self._smooth = False  # the next bytes begin an event, and none but loud ones need reading
        self._forwarded = True  # the fate of the last event
        self._marked = False  # [DONE] has passed
        self._opening = b""  # the first event, for an end of our own
        self.relayed = self.events = 0
        self._tokens_per_byte = 0.0
        self._kept: list[str] | None = None if target.traits.stream_usage else []
        self._kept_bytes = 0

    def __repr__(self) -> str:
        state = f"content={self.content}, finished={self.finished}, terminal={self.terminal}, fault={self.fault!r}"
        return f"{type(self).__name__}({state}, {self._splitter!r})"

    def feed(self, data: bytes) -> bytes:
        if self._smooth and data.endswith(_WHOLE) and data[:1] != b":" and b"\n:" not in data and not self.loud(data):
            self.relayed += len(data)
            self.events += data.count(b"\n\n") or data.count(b"\n\r\n")
            return data
        events = self._splitter.feed(data)
        out = self._take(events[0]) if len(events) == 1 else b"".join(map(self._take, events))
        self._smooth = self.content and self._forwarded and not self._reads_all() and not self._splitter.held
        return out

    def close(self) -> bytes:
        """A last event without its blank line counts if it is whole. Unless the reply is complete with it, it gets its
        blank line, so that an error event can follow; a torn one is dropped."""
        rest = self._splitter.close()
        if not rest or not (self.finished or _is_whole(rest)):
            return b""
        out = self._take(rest)
        return out if self.finished or not out else out + b"\n\n"

    def output_tokens_seen(self) -> int:
        return max(1, round(self.relayed * self._tokens_per_byte)) if self.content else 0

    def text(self) -> str | None:
        return None if self._kept is None else "".join(self._kept)

    def cut(self, usage: Usage) -> bytes:
        """Streams that are no text have no end before their own."""
        return b""

    @staticmethod
    @abstractmethod
    def loud(data: bytes) -> bool:
        """Whether whole events hold anything that must be read."""

    @abstractmethod
    def inspect(self, name: bytes, payload: dict[str, Any], size: int) -> bool:
        """Learns from an event of `size` bytes; False if the client must not see it."""

    def skim(self, event: bytes) -> bool | None:
        """As `inspect`, from an event of the usual form; None, and nothing learnt, if it has to be read whole."""
        return None

    def report(self, payload: dict[str, Any]) -> None:
        """Takes the usage out of an event, and the tier that was served, if it has them."""
        reported, tier = usage_of(payload.get("usage")), payload.get("service_tier")
        if reported is not None:
            self.usage = reported
        if isinstance(tier, str):
            self.tier = tier

    def fault_in(self, name: bytes, payload: dict[str, Any]) -> dict[str, Any] | None:
        """The object that tells of an error, if the event does."""
        return payload if is_fault(payload) or name == b"error" else None

    def generated(self, texts: list[str], size: int) -> None:
        """Content has come, in an event of `size` bytes."""
        if not self.content:
            self.content = True
            self._tokens_per_byte = max(1.0, sum(map(utf8_length, texts)) / 4) / size
        if self._kept is not None and self._kept_bytes + (size := sum(map(utf8_length, texts))) <= TEXT_BYTES_MAX:
            self._kept += texts
            self._kept_bytes += size

    def _reads_all(self) -> bool:
        return self._kept is not None or self.terminal or self.fault is not None

    def _take(self, event: bytes) -> bytes:
        """The bytes of an event that go to the client."""
        if event[0] in LINE_END:  # the rest of the blank line before it
            out = event if self._forwarded else b""
        else:
            out = self._admit(event)
            self._forwarded = out is event
        if self.content and not self.finished and event[:1] != b":":
            self.relayed += len(out)
            self.events += bool(out and event[0] not in LINE_END)
        return out

    def _admit(self, event: bytes) -> bytes:
        if self.content and not self._reads_all() and not self.loud(event):
            return event
        if not self._opening and b"data:" in event:
            self._opening = event
        silent = self.terminal or self.fault is not None
        if event == _END_EVENT:
            return self._end(event)
        if not silent and self._kept is None:
            shown = self.skim(event)
            if shown is not None:
                return event if shown else b""
        name, data = fields_of(event)
        if not data:
            return b"" if silent else event
        if data.strip() == DONE:
            return self._end(event)
        try:
            payload = loads(data)
        except ValueError:
            return b"" if silent else self._broken()
        if silent or not isinstance(payload, dict):
            self.report(payload if isinstance(payload, dict) else {})
            return b"" if silent else event
        found = self.fault_in(name, payload)
        if found is not None:
            self.report(payload)
            self.fault, self.finished = fault_of(found), False
            return event if self.content and self._call.head.begun is None else b""
        return event if self.inspect(name, payload, len(event)) else b""

    def _end(self, event: bytes) -> bytes:
        if self.fault is not None or self._marked:
            return b""
        self._marked = self.terminal = self.finished = True
        return event

    def _broken(self) -> bytes:
        error = ProxyError("upstream_broken", "The upstream sent an event that is not JSON.")
        if not self.content:
            raise error
        self.fault, self.finished = error, False
        return error_event(error, self._call.endpoint) if self._call.head.begun is None else b""


class ChatPassage(StreamPassage):
    """Chat completions and completions."""

    __slots__ = ("_ended",)

    def __init__(self, call: Call, target: Target) -> None:
        super().__init__(call, target)
        self._ended: set[int] = set()

    @staticmethod
    def loud(data: bytes) -> bool:
        if _NAMED(data):
            return True
        if data.startswith(b"data: {") and data.find(b"\n") == len(data) - 2 and b"\r" not in data:
            return False  # one event of one line that is neither an end marker nor named: the common case
        return DONE in data or b"error" in data

    def skim(self, event: bytes) -> bool | None:
        chunk = usual_chunk(event)
        if chunk is None:
            return None
        if chunk.usage is not None:
            usage = chunk.usage.usage()
            if usage is None:
                return None
            self.usage = usage
        if not self.model and chunk.model is not None:
            self.model = chunk.model
        if chunk.service_tier is not None:
            self.tier = chunk.service_tier
        if not chunk.choices:
            return chunk.usage is None or self._shows_usage()
        for choice in chunk.choices:
            if not self.content and (texts := choice.texts()) is not None:
                self.generated(texts, len(event))
            if choice.finish_reason:
                self._end_choice(choice.index)
        return True

    def cut(self, usage: Usage) -> bytes:
        still = [index for index in range(self._call.head.choices) if index not in self._ended]
        return chunks_end(self._call, self._opening, open_choices=still, usage=usage)

    def report(self, payload: dict[str, Any]) -> None:
        extra = payload.get("x_groq")
        super().report(payload if payload.get("usage") or not isinstance(extra, dict) else payload | extra)

    def inspect(self, name: bytes, payload: dict[str, Any], size: int) -> bool:
        self.report(payload)
        model = payload.get("model")
        if not self.model and isinstance(model, str):  # Azure's first event has an empty one
            self.model = model
        choices = payload.get("choices")
        if choices == []:
            return self._shows_usage() or not isinstance(payload.get("usage"), dict)
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._choice(choice, size)
        return True

    def _choice(self, choice: dict[str, Any], size: int) -> None:
        delta = choice.get("delta")
        parts = [delta.get(name) for name in GENERATED] if isinstance(delta, dict) else [choice.get("text")]
        if any(parts):
            self.generated(list(texts_in(parts)), size)
        if choice.get("finish_reason"):
            index = choice.get("index", 0)
            self._end_choice(index if isinstance(index, int) else 0)

    def _end_choice(self, index: int) -> None:
        self._ended.add(index)
        if len(self._ended) >= self._call.head.choices:
            self.finished = True

    def _shows_usage(self) -> bool:
        """The client asked for the usage event, or does not get the stream as one."""
        head = self._call.head
        return head.include_usage or not head.stream


class PlainPassage(StreamPassage):
    """Streams of which only the usage matters: speech, transcriptions, images. A clean end is a complete one."""

    __slots__ = ()

    @staticmethod
    def loud(data: bytes) -> bool:
        return bool(_NAMED(data)) or DONE in data or b"error" in data or b".done" in data or b".completed" in data

    def inspect(self, name: bytes, payload: dict[str, Any], size: int) -> bool:
        self.report(payload)
        kind = str(payload.get("type") or name.decode("utf-8", "replace"))
        self.generated(list(texts_in([payload])), size)
        if kind.endswith((".done", ".completed")):
            self.finished = True
        return True

    def close(self) -> bytes:
        held = bytes(self._splitter.held)
        self.finished = self.finished or (self.fault is None and (not held or _is_whole(held)))
        return super().close()


def _is_whole(rest: bytes) -> bool:
    """Whether what a stream ended in is an event that only lacks its blank line."""
    data = fields_of(rest)[1]
    if data.strip() == DONE:
        return True
    try:
        loads(data)
    except ValueError:
        return False
    return True
