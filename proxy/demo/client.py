"""The client every agent uses, in both columns: streaming chat calls as an SDK of OpenAI's makes them.

Two retries with exponential backoff and jitter, the server's hint first; no retry once a stream has begun. These are
the documented defaults of the openai package. Only the base URL and the key say where a call goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import ClientError, ClientResponse, ClientSession
from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from proxy.clock import Clock
from proxy.demo.vendor import RETRY_COUNT

RETRIES = 2
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 8.0
JITTER = 0.25  # up to so much off
HINT_MAX_S = 60.0
AGAIN = frozenset({408, 409, 429})  # and 500 upwards
LOST = (ClientError, TimeoutError, OSError, DecodeError)


class Failed(Exception):
    """The call has no answer, after all retries."""


class Reply(Struct, frozen=True):
    text: str
    first_token_s: float  # since the first try was begun


class _Delta(Struct, frozen=True):
    content: str | None = None


class _Choice(Struct, frozen=True):
    delta: _Delta = _Delta()


class _Chunk(Struct, frozen=True):
    choices: list[_Choice] = []


_CHUNK = Decoder(_Chunk)


class Client:
    def __init__(self, session: ClientSession, base_url: str, *, key: str, clock: Clock) -> None:
        self._session = session
        self._url = f"{base_url}/chat/completions"
        self._key = key
        self._clock = clock
        self._rng = clock.rng(f"sdk {base_url} {key}")

    def __repr__(self) -> str:
        return f"Client({self._url})"

    async def ask(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Raises Failed."""
        began_at = self._clock.now()
        for number in range(RETRIES + 1):
            sent = {**headers, "Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
            try:
                async with self._session.post(
                    self._url, data=body, headers={**sent, RETRY_COUNT: str(number)}
                ) as reply:
                    if reply.status == 200:
                        return await self._listen(reply, began_at)
                    delay_s = self._delay_s(number, reply.status, reply.headers)
                    await reply.read()
            except LOST:
                delay_s = self._delay_s(number, None, {})
            if delay_s is None:
                break
            await asyncio.sleep(delay_s)
        raise Failed

    async def _listen(self, reply: ClientResponse, began_at: float) -> Reply:
        """From here on there is no second try: text may have been shown."""
        try:
            return await self._read(reply, began_at)
        except LOST as error:
            raise Failed from error

    async def _read(self, reply: ClientResponse, began_at: float) -> Reply:
        parts: list[str] = []
        first_at = began_at
        async for line in reply.content:
            if line.startswith(b"data: [DONE]"):
                return Reply("".join(parts), first_at - began_at)
            if not line.startswith(b"data: {"):
                continue
            chunk = _CHUNK.decode(line[6:])
            text = chunk.choices[0].delta.content if chunk.choices else None
            if text:
                first_at = first_at if parts else self._clock.now()
                parts.append(text)
        raise Failed

    def _delay_s(self, number: int, status: int | None, headers: Mapping[str, str]) -> float | None:
        """None: not again."""
        if number >= RETRIES:
            return None
        asked = headers.get("x-should-retry")
        if asked == "false" or (asked != "true" and status is not None and status not in AGAIN and status < 500):
            return None
        hint = headers.get("retry-after", "")
        if hint.isdigit() and 0 < int(hint) <= HINT_MAX_S:
            return float(hint)
        return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * (1 << number)) * (1 - JITTER * self._rng.random())
