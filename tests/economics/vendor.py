"""A vendor on a loopback port with a tariff, a prompt cache and a true bill of what it sold; any OpenAI client can ask.

A token of a prompt is four characters of its messages; how long an answer is and what it says is the scenario's. A
prompt's beginning is read from the cache at a tenth of the price where the vendor has one, in steps of 128 tokens and
from 1,024 on, as OpenAI documents its own. Each vendor is one region: caches are not shared between them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

from msgspec import Struct, json

BYTES_A_TOKEN = 4
CACHED_STEP, CACHED_LEAST = 128, 1_024  # tokens
CACHED_PART = 10  # a cached token costs one part of so many
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
OVER_1M = 10**9 // 10**6  # nano-dollars a token for each dollar a million


class Tariff(Struct, frozen=True):
    """USD a million tokens."""

    input_usd: float
    output_usd: float

    def nanos(self, *, read: int, cached: int, written: int) -> int:
        """What so many tokens of each kind cost, in nano-dollars."""
        uncached_and_cached = read - cached + cached / CACHED_PART
        return round((uncached_and_cached * self.input_usd + written * self.output_usd) * OVER_1M)


class Message(Struct, frozen=True):
    role: str
    content: str


class Asked(Struct, frozen=True):
    """A request as the scenario sees it. `time`: how often this very question came to this model, from 0."""

    model: str
    messages: list[Message]
    time: int = 0


class Said(Struct, frozen=True):
    text: str
    tokens: int  # that it is billed as


Says = Callable[[Asked], Said]


class Vendor:
    """`start` it, `stop` it; `usd_nanos` is its bill."""

    def __init__(self, tariffs: Mapping[str, Tariff], says: Says, *, caches: bool = False) -> None:
        self.usd_nanos = 0
        self.calls: Counter[str] = Counter()  # by model
        self.cached_tokens = 0
        self.base_url = ""
        self._tariffs = tariffs
        self._says = says
        self._caches = caches
        self._known: set[tuple[str, int]] = set()
        self._times: Counter[tuple[str, int]] = Counter()
        self._server: asyncio.Server

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:  # until the client closes
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = self._sold(json.decode(await reader.readexactly(length), type=Asked))
                writer.write(HEAD % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _sold(self, asked: Asked) -> bytes:
        prompt = "".join([message.content for message in asked.messages])
        question = asked.model, hash(prompt)
        said = self._says(Asked(asked.model, asked.messages, self._times[question]))
        self._times[question] += 1
        read, cached = len(prompt) // BYTES_A_TOKEN, self._cached(asked.model, prompt)
        self.calls[asked.model] += 1
        self.cached_tokens += cached
        self.usd_nanos += self._tariffs[asked.model].nanos(read=read, cached=cached, written=said.tokens)
        usage = {
            "prompt_tokens": read,
            "completion_tokens": said.tokens,
            "total_tokens": read + said.tokens,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        choice = {"index": 0, "message": {"role": "assistant", "content": said.text}, "finish_reason": "stop"}
        reply = {"id": "c", "object": "chat.completion", "created": 1, "model": asked.model, "choices": [choice]}
        return json.encode(reply | {"usage": usage})

    def _cached(self, model: str, prompt: str) -> int:
        """Tokens of its beginning that are known, all of which are known from now on."""
        if not self._caches:
            return 0
        step = CACHED_STEP * BYTES_A_TOKEN
        beginnings = [(model, hash(prompt[:end])) for end in range(step, len(prompt) + 1, step)]
        cached = sum(beginning in self._known for beginning in beginnings) * CACHED_STEP
        self._known.update(beginnings)
        return cached if cached >= CACHED_LEAST else 0
