"""What a wire format must be able to do, for both of its sides: the clients that speak it and the upstreams.

Everything here is sans-io: bytes and values in, bytes and values out. When client and upstream speak the same dialect,
a stream goes through a `Passage`, which forwards the upstream's bytes and reads from them only what the gate must know.
When one side streams and the other does not, the whole reply is folded or unfolded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from proxy.errors import ProxyError
from proxy.observed import Begun, Demand, Mark, Said, Turns
from proxy.types import Call, Endpoint, Head, Target, Usage

EVENT_BYTES_MAX = 8 * 1024 * 1024


class Reply(Struct, frozen=True):
    """A whole, valid, not streamed reply."""

    body: bytes
    usage: Usage | None  # None: the upstream said nothing
    text_bytes: int = 0  # UTF-8 bytes of generated text in it, for an estimate
    finish_reason: str | None = None
    tier: str | None = None  # of service, as the upstream says it was served

    def __repr__(self) -> str:
        """Without the body: it is the answer."""
        return f"Reply({len(self.body)} bytes, {self.usage!r}, {self.finish_reason!r})"


class Passage(Protocol):
    """One streamed reply on its way through. The bytes out do not depend on how the bytes in were split."""

    content: bool  # the first content event (text, reasoning, tool call, refusal, audio) has been fed
    finished: bool  # the reply is complete: an upstream that closes now has not cut it
    terminal: bool  # the end marker has passed; what follows is read for usage only and not forwarded
    usage: Usage | None  # the last usage report
    fault: ProxyError | None  # an error object inside the stream
    model: str | None  # the model name the upstream gave, for the record
    tier: str | None  # of service, as the upstream says it was served

    def feed(self, data: bytes) -> bytes:
        """The whole events that may now go to the client, possibly none. Raises ProxyError for an event above
        EVENT_BYTES_MAX. Never returns part of an event, so its caller always stands between two events."""
        ...

    def close(self) -> bytes:
        """The upstream ended its body cleanly: what was held back (a last event without its blank line)."""
        ...

    relayed: int  # bytes handed out from the first content event to the last
    events: int  # ... and whole events; each says a token, or several

    def cut(self, usage: Usage) -> bytes:
        """The proper end of a stream whose money is used up, with the usage if the client asked for it: what `feed`
        has handed out stands before it. Empty where a reply cannot end early."""
        ...

    def output_tokens_seen(self) -> int:
        """Output tokens relayed so far, estimated from bytes; for a reply that is cut or reports nothing."""
        ...

    def text(self) -> str | None:
        """The generated text, if the passage was asked to keep it (an upstream that reports no usage)."""
        ...


class Transcript(Protocol):
    """What a client has been handed of one stream."""

    def add(self, events: bytes) -> None: ...

    def begun(self) -> Begun | str:
        """What has been said so far; or why no other upstream can go on with it."""
        ...


class Dialect(Protocol):
    """One wire format."""

    name: str

    # the client's side
    def read(self, endpoint: Endpoint, raw: bytes, content_type: str) -> Head:
        """Raises ProxyError (invalid_json, invalid_request with `param`)."""
        ...

    def demanded(self, call: Call) -> Demand: ...

    def tool_errors(self, call: Call) -> tuple[tuple[str, str], ...]:
        """The tool and the text of each error among the call's last messages, the oldest first."""
        ...

    def turns(self, call: Call, mark: Mark | None) -> Turns:
        """What its conversation tells of its last turns: those behind the mark, if it is the same conversation."""
        ...

    def revised(self, call: Call, draft: str, reason: str) -> Call | None:
        """The call that asks again, with a draft of its answer and what is wrong with it. None: it has no room."""
        ...

    def debated(self, call: Call, own: str, others: Sequence[str]) -> Call:
        """The chat, asked again of a model that has answered it, with what other models have answered."""
        ...

    def with_votes(self, body: bytes, votes: Mapping[str, object]) -> bytes:
        """A whole reply, plain or in events, that says how a vote over it went."""
        ...

    def error(self, error: ProxyError) -> tuple[int, bytes]: ...

    def error_event(self, error: ProxyError, endpoint: Endpoint) -> bytes:
        """The error as an event of a stream that has begun, framed and ready to write."""
        ...

    # the upstream's side
    def write(self, call: Call, target: Target, output_limit: int | None = None) -> bytes:
        """The body for the upstream: the client's bytes but for the model name and what the gate must ask for.
        `output_limit`: tokens of one choice, where the gate allows less than the client asked for."""
        ...

    def passage(self, call: Call, target: Target) -> Passage:
        """Of a call that has `begun`, the rest of a reply: it is handed out so that it follows what the client has."""
        ...

    def transcript(self) -> Transcript: ...

    def continuing(self, call: Call, begun: Begun) -> Call:
        """The call that asks another upstream for the rest of the reply, if its engine can give it exactly."""
        ...

    def reply(self, call: Call, body: bytes) -> Reply:
        """Raises ProxyError upstream_broken if the body is not one valid reply of the endpoint."""
        ...

    def said(self, body: bytes) -> tuple[Said, ...]:
        """What each choice of a reply says, plain or in events, whole or as far as it has come. Raises ProxyError."""
        ...

    def so_far(self, endpoint: Endpoint, stream: bytes) -> object:
        """What a reply in events says, as far as it has come, in the form of a whole one. Raises ProxyError."""
        ...

    def given(self, call: Call, text: str) -> bytes | None:
        """A whole reply, plain or in events, that the gate makes of a text, ended before it was done. None: the
        endpoint has none."""
        ...

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> ProxyError:
        """What an upstream's status other than 2xx means, with its own words kept in `passed`."""
        ...

    # between the two, when one streams and the other does not
    def stream_of(self, call: Call, reply: Reply) -> bytes: ...
    def reply_of(self, call: Call, stream: bytes) -> Reply: ...
