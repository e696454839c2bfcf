"""What one upstream says, from the head of its reply to its end, in the form that the client asked for.

Nothing here knows of money, retries or clocks. `begin` returns when there is something to commit to: the first content
event of a stream, or a whole plain reply. Until then every fault is a `ProxyError`; afterwards `read` hands out whole
events. A stream in answer to a plain request is gathered and folded into one reply, a plain reply to a stream request
is unfolded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache

from msgspec import structs

from proxy.dialects.base import Passage, Reply
from proxy.errors import ProxyError
from proxy.providers.base import Provider, UpstreamResponse
from proxy.providers.limit_headers import PREFIXES as LIMIT_PREFIXES
from proxy.types import Call, Target, Usage

ERROR_BODY_MAX = 256 * 1024
AFTER_END_S = 1.0  # how long bytes after the end marker are read, for usage only
JSON_ONLY = frozenset({"chat", "completions", "embeddings", "moderations", "rerank", "responses"})
PASSED_PREFIXES = (*LIMIT_PREFIXES, "openai-", "retry-after")
PASSED_MAX, PASSED_CHARS_MAX = 32, 1_024  # of an upstream's headers: more is no hint
PASSED_NAMES = frozenset({"x-should-retry", "x-request-id", "content-disposition", "content-language"})


class Reading:
    """The reply of one exchange. `first` is what may be written as soon as the reply is committed."""

    def __init__(self, call: Call, ask: Call, target: Target, provider: Provider, response: UpstreamResponse) -> None:
        """`ask`: the call as the upstream was asked it."""
        self.status = response.status
        self.content_type, self.headers = _passed_headers(response.headers, provider)
        self.passage: Passage | None = None  # a reply in events
        self.reply: Reply | None = None  # a whole reply
        self.first = b""
        self.cut_short = False  # the money for it was used up before it was whole
        self._call = call
        self._ask = ask
        self._target = target
        self._provider = provider
        self._response = response
        self.unread = 0  # bytes that had come when it was closed, and that nobody took
        self._body: list[bytes] = []  # of a reply that the client gets whole, as far as it was read
        self._size = 0
        self._tail = b""  # of an opaque reply: not handed out yet
        self._opaque = False  # neither events nor JSON: passed through, not understood
        self._over = False  # `hold` has come to its end

    def __repr__(self) -> str:
        return f"Reading({self.target_id}, {self.status}, {self.content_type})"

    @property
    def target_id(self) -> str:
        return self._target.id

    @property
    def streams(self) -> bool:
        """Whether the reply goes to the client as it comes; otherwise `first` is all of it."""
        return self._opaque or (self.passage is not None and self.reply is None)

    @property
    def gathers(self) -> bool:
        """Whether the rest has to be gathered first: a stream in answer to a client that waits for a whole reply."""
        return self.passage is not None and self.reply is None and not self._call.head.stream

    @property
    def more(self) -> bool:
        """Whether `read` may still hand something out."""
        if self._over or self.cut_short:
            return False
        return self._opaque or (self.passage is not None and not self.passage.terminal)

    @property
    def fault(self) -> ProxyError | None:
        """An error object inside the stream, which `read` has handed out already, unless another upstream may go on."""
        fault = self.passage.fault if self.passage is not None else None
        if fault is None or fault.forwarded:
            return fault
        fault.forwarded = self._ask.head.begun is None
        return fault if fault.forwarded else self._cleared(fault)

    async def begin(self, bytes_max: int) -> None:
        if self.status != 200:
            raise await self._refusal()
        kind = self.content_type.partition(";")[0].rstrip().lower()
        if kind == "text/event-stream":
            await self._until_content(bytes_max)
        elif self._ask.head.begun is not None and self._ask.head.begun.opening:
            raise ProxyError("upstream_broken", f"{self.target_id} sent no stream where the rest of one was due.")
        elif kind.endswith("json") or not kind:
            await self._whole(bytes_max)
        elif self._call.endpoint in JSON_ONLY:
            shown = self.content_type[:80]
            raise ProxyError("upstream_broken", f"{self.target_id} answered with {shown!r} where JSON was due.")
        else:
            self._opaque = True
            self.first = self._opaque_part(await self._response.read())

    async def read(self) -> bytes | None:
        """The next bytes for the client, b"" when no event is whole yet, None at the end of the reply.

        Raises ProxyError when the upstream breaks off. An error object inside the stream is handed out, and then shows
        in `fault`.
        """
        passage = self.passage
        try:
            data = await self._response.read()
        except ProxyError:
            if passage is None or not passage.finished:
                raise
            data = b""  # the reply was complete before its connection broke
        if passage is None:
            self._opaque = bool(data)
            if data:
                return self._opaque_part(data)
            rest, self._tail = self._tail, b""
            return rest or None
        if data:
            return self._provider.redact(passage.feed(data))
        rest = passage.close()
        if rest:
            return self._provider.redact(rest)
        if not passage.finished and passage.fault is None:
            raise ProxyError("upstream_broken", f"{self.target_id} closed its stream before the reply was complete.")
        return None

    def _opaque_part(self, data: bytes) -> bytes:
        """Bytes without events may cut the credential anywhere: what could be its beginning waits for what follows."""
        data = self._provider.redact(self._tail + data)
        held = self._provider.held_back(data)
        self._tail = data[len(data) - held :]
        return data[: len(data) - held]

    async def read_trailer(self) -> None:
        """What follows the end marker: of use to the bill and to the connection, and not worth waiting for."""
        try:
            async with asyncio.timeout(AFTER_END_S):
                while data := await self._response.read():
                    if self.passage is not None:
                        self.passage.feed(data)
        except (TimeoutError, ProxyError):
            return

    async def drain(self) -> bool:
        """Reads to the upstream's end for the bill alone; whether the reply was complete."""
        if self.status != 200:
            return False
        while data := await self._response.read():
            if self.passage is not None:
                self.passage.feed(data)  # for the bill alone: nobody will want the text
            elif not self._opaque:
                self._body.append(data)
        if self.passage is not None:
            self.passage.close()
            return self.passage.finished
        if self.reply is None and not self._opaque:
            self._put_together()
        return True

    def cut(self, usage: Usage) -> bytes:
        """The end that the client gets instead of the rest. The upstream goes on until it is closed, or read out."""
        self.cut_short = True
        return self.passage.cut(usage) if self.passage is not None else b""

    def close(self) -> None:
        self._response.close()
        self.unread = self._response.unread

    async def _until_content(self, bytes_max: int) -> None:
        passage = self.passage = self._provider.dialect.passage(self._ask, self._target)
        held: list[bytes] = []
        size = 0
        while not passage.content:
            data = await self._response.read()
            held.append(passage.feed(data) if data else passage.close())
            if passage.fault is not None:
                raise self._cleared(passage.fault)
            size += len(data)
            if size > bytes_max:
                raise ProxyError("upstream_too_large", f"{self.target_id} sent too much before its first token.")
            if not data or passage.terminal:
                break
        if not passage.content and not passage.finished:
            raise ProxyError("upstream_broken", f"{self.target_id} ended its stream before the first token.")
        self.first = self._provider.redact(b"".join(held))
        self._body, self._size = [self.first], len(self.first)

    async def gather(self, bytes_max: int) -> None:
        """One piece more of what `gathers`; the last one makes the reply."""
        passage = self.passage
        assert passage is not None  # see `gathers`
        data = b"" if passage.terminal else await self._response.read()
        self._body.append(self._provider.redact(passage.feed(data) if data else passage.close()))
        self._size += len(self._body[-1])
        if passage.fault is not None:
            raise self._cleared(passage.fault)
        if self._size > bytes_max:
            raise self._too_large(bytes_max)
        if not data or passage.terminal:
            self.reply = self._provider.dialect.reply_of(self._call, b"".join(self._body))
            self.first, self.content_type = self.reply.body, "application/json"

    async def hold(self, bytes_max: int) -> bool:
        """One piece more of a stream into `first`, before any of it is written. False: there is no more to come, or
        enough."""
        data = await self.read()
        if self.passage is not None and self.passage.fault is not None:
            raise self._cleared(self.passage.fault)
        self.first += data or b""
        self._over = data is None
        return data is not None and self.more and len(self.first) < bytes_max

    async def _whole(self, bytes_max: int) -> None:
        if not await self._read_body(bytes_max):
            raise self._too_large(bytes_max)
        self._put_together()

    def _put_together(self) -> None:
        dialect, call = self._provider.dialect, self._call
        self.reply = dialect.reply(call, self._provider.redact(b"".join(self._body)))
        self.first = self.reply.body
        if call.head.stream and call.endpoint in ("chat", "completions"):
            self.first = self._provider.redact(dialect.stream_of(call, self.reply))
            self.content_type = "text/event-stream; charset=utf-8"

    def _cleared(self, fault: ProxyError) -> ProxyError:
        """An error object of the stream that becomes the reply: its words have not been looked at yet."""
        fault.message = _clean(self._provider, fault.message)
        if fault.passed is not None:
            fault.passed = structs.replace(fault.passed, body=self._provider.redact(fault.passed.body))
        return fault

    async def _refusal(self) -> ProxyError:
        await self._read_body(ERROR_BODY_MAX)
        error = self._provider.failure(self.status, self._response.headers, b"".join(self._body))
        error.headers = self.headers
        return error

    async def _read_body(self, bytes_max: int) -> bool:
        """Collects the body in `_body`; False if it is larger than `bytes_max`."""
        size = 0
        while data := await self._response.read():
            self._body.append(data)
            size += len(data)
            if size > bytes_max:
                return False
        return True

    def _too_large(self, bytes_max: int) -> ProxyError:
        return ProxyError("upstream_too_large", f"The reply of {self.target_id} is larger than {bytes_max} bytes.")


def _passed_headers(headers: Mapping[str, str], provider: Provider) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The content type, and the hints and ids that clients know; cookies, hop-by-hop and internal headers stay
    behind."""
    content_type = headers.get("Content-Type", "")
    passed = []
    for name, value in headers.items():
        lower = _passed_as(name)
        if lower is not None and len(value) <= PASSED_CHARS_MAX:
            passed.append((lower, value))
    del passed[PASSED_MAX:]
    told = "\n".join([content_type, *[value for _, value in passed]])
    if _clean(provider, told) is told:  # as with most replies: one look at all of them
        return content_type, tuple(passed)
    return _clean(provider, content_type), tuple([(name, _clean(provider, value)) for name, value in passed])


@lru_cache(maxsize=512)  # upstreams send the same few names
def _passed_as(name: str) -> str | None:
    lower = name.lower()
    return lower if lower in PASSED_NAMES or lower.startswith(PASSED_PREFIXES) else None


def _clean(provider: Provider, text: str) -> str:
    raw = text.encode("utf-8", "replace")
    clean = provider.redact(raw)
    return text if clean is raw else clean.decode("utf-8", "replace")
