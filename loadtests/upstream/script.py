"""What a script does with one exchange, verb by verb: each public method of `Performance` is a step of a scenario.

The server's own count goes with it: input is billed when generation begins, output token by token. Nothing here decides
which script plays. A script that ends within a reply closes the connection without finishing it.
"""

from __future__ import annotations

import asyncio
import gzip as packing
import inspect
import json
import socket
import struct
from collections.abc import Mapping

from . import canned
from .bill import Entry
from .request import Request
from .text import Answer, answer_to, output_limit
from .wire import Wire

Step = tuple[str, dict[str, object]]

ENDLESS_TOKENS_MAX = 100_000
DEFAULT_TOKENS = 20
VECTOR = "[0.25,-0.5,0.75,-1.0]"
AT_ONCE_RESET = struct.pack("ii", 1, 0)


class Performance:
    """One exchange. `answer_tokens`: of a good answer, when a step names no other length."""

    def __init__(self, request: Request, wire: Wire, entry: Entry, *, answer_tokens: int = DEFAULT_TOKENS) -> None:
        self.complete = False  # a whole reply was sent
        self._broken = False  # by a step
        self._request = request
        self._wire = wire
        self._entry = entry
        self._answer_tokens = answer_tokens
        self._said: list[str] = []

    @property
    def ended(self) -> str:
        if self._broken:
            return "cut"
        return "whole" if self.complete else "left" if self._wire.left.is_set() else "cut"

    # --- time and connections

    async def wait(self, s: float) -> None:
        """Nothing happens for `s` seconds."""
        await asyncio.sleep(s)

    async def stall(self) -> None:
        """Silence until the client closes."""
        await self._wire.left.wait()

    async def reset(self) -> None:
        """RST. What the client has not read by now is lost to it: `wait` a moment before, where it should be read."""
        self._broken = True
        sock = self._wire.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE_RESET)
        self._wire.transport.abort()

    async def half_close(self) -> None:
        """No more bytes from here; the client's are still read."""
        self._wire.transport.write_eof()

    async def close(self) -> None:
        """The connection is closed in order, wherever the reply is."""
        self._broken = not self.complete
        self._wire.transport.close()

    # --- whole replies

    async def reply(
        self, status: int = 200, headers: Mapping[str, str] | None = None, *, body: object = None, gzip: bool = False
    ) -> None:
        """Any reply with a length. `body`: text, or what becomes JSON; None: an error object for a status >= 400."""
        if body is None and status >= 400:
            body = {"error": {"message": f"scripted {status}", "type": "server_error", "param": None, "code": None}}
        data = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json", **{name.lower(): str(v) for name, v in (headers or {}).items()}}
        if gzip:
            data, sent["content-encoding"] = packing.compress(data), "gzip"
        sent.setdefault("content-length", str(len(data)))
        await self._head(status, sent)
        await self._wire.write(data)
        self.complete = True

    async def redirect(self, to: str) -> None:
        """307 to another address."""
        await self.reply(307, {"location": to}, body="")

    async def answer(self, tokens: int | None = None, first: float = 0.0, *, interval: float = 0.0) -> None:
        """A good answer in the form asked for: after `first` seconds, then a token each `interval` seconds."""
        if self._request.path.endswith(b"/embeddings"):
            await self._embedding(first)
        elif self._request.streamed:
            await self.stream()
            await self.role()
            await self.wait(first)
            finish = await self._generate(self._good(tokens), interval, aloud=True)
            await self.finish(finish)
            if self._request.wants_usage:
                await self.usage()
            await self.done()
            await self.end()
        else:
            await self.wait(first)
            finish = await self._generate(self._good(tokens), interval, aloud=False)
            await self._wire.write(canned.plain(self._request.nonce, self._body(finish)))
            self._sent_whole()

    async def part(self, share: float = 0.5, tokens: int | None = None) -> None:
        """A plain answer of which only this share of the bytes is sent."""
        finish = await self._generate(self._good(tokens), 0.0, aloud=False)
        data = canned.plain(self._request.nonce, self._body(finish))
        self._entry.status = 200
        await self._wire.write(data[: len(data) - int((1 - share) * len(self._body(finish)))])

    # --- streams, piece by piece

    async def stream(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """The head of a chunked reply; an event stream unless `headers` say otherwise."""
        given = {name.lower(): str(value) for name, value in (headers or {}).items()}
        await self._head(status, {"content-type": "text/event-stream", **given, "transfer-encoding": "chunked"})

    async def role(self) -> None:
        """The first event of a chat, which says nothing."""
        if self._request.path.endswith(b"/chat/completions"):
            await self._event(canned.event(self._request, canned.FIRST))

    async def tokens(self, n: int, interval: float = 0.0) -> None:
        """`n` tokens of the answer, an event each, `interval` seconds before each."""
        await self._generate(self._next(n), interval, aloud=True)

    async def endless(self, interval: float = 0.0) -> None:
        """Tokens until the client closes."""
        await self._generate(self._next(ENDLESS_TOKENS_MAX), interval, aloud=True)

    async def finish(self, reason: str = "stop") -> None:
        """The event that says why the answer ends."""
        await self._event(canned.stop(self._request, reason.encode()))

    async def usage(self, fields: Mapping[str, object] | None = None) -> None:
        """The usage event: the truth, or `fields` instead."""
        entry = self._entry
        used = canned.usage(entry.prompt_tokens, entry.completion_tokens)
        if fields is not None:
            used = b'"usage":' + json.dumps(fields).encode()
        entry.told = True
        await self._event(canned.EVENT % (self._request.nonce, self._request.model, b"", b"[]", b"," + used))

    async def done(self) -> None:
        """`data: [DONE]`."""
        await self._event(canned.DONE)

    async def end(self) -> None:
        """The chunk that ends the body."""
        await self._wire.write(canned.LAST_CHUNK)
        self.complete = True

    async def event(self, data: object) -> None:
        """`data: ...` with any text or JSON, framed as a chunk."""
        shown = data if isinstance(data, str) else json.dumps(data)
        await self._event(b"data: " + shown.encode() + b"\n\n")

    # --- bytes

    async def raw(self, text: str, times: int = 1, *, interval: float = 0.0) -> None:
        """These bytes (Latin-1), as they are: heads of one's own, junk, floods."""
        for _ in range(times):
            if interval:
                await asyncio.sleep(interval)
            await self._wire.write(text.encode("latin-1"))

    async def chunk(self, text: str, times: int = 1, *, interval: float = 0.0) -> None:
        """The same, each framed as a chunk."""
        for _ in range(times):
            if interval:
                await asyncio.sleep(interval)
            await self._event(text.encode("latin-1"))

    async def drip(self, text: str, interval: float) -> None:
        """One byte a chunk, `interval` seconds before each."""
        for byte in text.encode("latin-1"):
            await asyncio.sleep(interval)
            await self._event(bytes((byte,)))

    async def bill(self, prompt: int = 0, completion: int = 0) -> None:
        """What this exchange costs from here on, whatever was counted."""
        self._entry.prompt_tokens, self._entry.completion_tokens = prompt, completion

    # --- below: no steps

    async def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self._entry.status = status
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await self._wire.write(f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode("latin-1"))

    async def _event(self, data: bytes) -> None:
        await self._wire.write(canned.framed(data))

    async def _generate(self, answer: Answer, interval: float, *, aloud: bool) -> str:
        """Makes the tokens and counts them; why they end."""
        entry = self._entry
        entry.prompt_tokens = self._request.prompt_tokens
        for token in answer.tokens:
            if interval:
                await asyncio.sleep(interval)
            entry.completion_tokens += 1
            self._said.append(token)
            if aloud:
                await self._wire.write(canned.framed(canned.said(self._request, token)))
        return answer.finish

    def _good(self, count: int | None) -> Answer:
        """An answer that keeps to the limit of the request."""
        asked = self._request.json
        return answer_to(asked, self._answer_tokens if count is None else count).within(output_limit(asked))

    def _next(self, count: int) -> Answer:
        """So many tokens after those that were made already, whatever the request allows."""
        made = len(self._said)
        return Answer(answer_to(self._request.json, made + count).tokens[made:])

    def _body(self, finish: str) -> bytes:
        used = canned.usage(self._entry.prompt_tokens, self._entry.completion_tokens)
        return canned.whole(self._request, "".join(self._said), used=used, finish=finish.encode())

    def _sent_whole(self) -> None:
        self._entry.status, self._entry.told, self.complete = 200, True, True

    async def _embedding(self, first: float) -> None:
        await self.wait(first)
        asked, entry = self._request.json.get("input"), self._entry
        entry.prompt_tokens = self._request.prompt_tokens
        count = len(asked) if isinstance(asked, list) else 1
        vectors = ",".join(f'{{"object":"embedding","index":{i},"embedding":{VECTOR}}}' for i in range(count))
        used = f'"usage":{{"prompt_tokens":{entry.prompt_tokens},"total_tokens":{entry.prompt_tokens}}}'
        model = self._request.model.decode()
        body = f'{{"object":"list","model":{model},"data":[{vectors}],{used}}}'
        await self._wire.write(canned.plain(self._request.nonce, body.encode()))
        self._sent_whole()


def _signature(verb: str) -> inspect.Signature:
    found = inspect.signature(getattr(Performance, verb))
    return found.replace(parameters=[*found.parameters.values()][1:])


VERBS = {
    name: _signature(name)
    for name, member in vars(Performance).items()
    if inspect.iscoroutinefunction(member) and not name.startswith("_")
}


async def perform(performance: Performance, steps: tuple[Step, ...]) -> None:
    for verb, arguments in steps:
        await getattr(performance, verb)(**arguments)
