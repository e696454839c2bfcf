"""The client every agent uses, in both columns: streaming chat calls as an SDK of OpenAI's makes them.

Two retries with exponential backoff and jitter, the server's hint first; no retry once a stream has begun. These are
the documented defaults of the openai package. Only the base URL and the key say where a call goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from proxy.clock import Clock
from proxy.demo.vendor import RETRY_COUNT
from proxy.dialects.sse import DONE, Splitter, fields_of
from proxy.errors import ProxyError
from proxy.providers.base import Transport, UpstreamRequest, UpstreamResponse

RETRIES = 2
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 8.0
JITTER = 0.25  # up to so much off
HINT_MAX_S = 60.0
AGAIN = frozenset({408, 409, 429})  # and 500 upwards
LOST = (ProxyError, TimeoutError, DecodeError)
TIMEOUT_S = 600.0  # of one try
TARGET, SERVED_BY = "x-headgate-target", "x-headgate-served-by"


class Failed(Exception):
    """The call has no answer, after all retries. `code`: the error's, where the other end named one."""

    def __init__(self, code: str = "") -> None:
        super().__init__(code)
        self.code = code


class Reply(Struct, frozen=True):
    text: str
    first_token_s: float  # since the first try was begun
    target: str = ""  # whose answer it is, and the answer to which attempt: a gate says so in its headers
    served_by: str = ""


class _Error(Struct, frozen=True):
    code: str | int | None = None


class _Refusal(Struct, frozen=True):
    error: _Error = _Error()


class _Delta(Struct, frozen=True):
    content: str | None = None


class _Choice(Struct, frozen=True):
    delta: _Delta = _Delta()


class _Chunk(Struct, frozen=True):
    choices: list[_Choice] = []


_CHUNK, _REFUSAL = Decoder(_Chunk), Decoder(_Refusal)


def _code(body: bytes) -> str:
    try:
        return str(_REFUSAL.decode(body).error.code or "")
    except DecodeError:
        return ""


def _text(event: bytes) -> str:
    chunk = _CHUNK.decode(event)
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


class Client:
    def __init__(self, transport: Transport, base_url: str, *, key: str, clock: Clock) -> None:
        self._transport = transport
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
            ending = await self._try(self._request(body, headers, number), number, began_at)
            if isinstance(ending, Reply):
                return ending
            await asyncio.sleep(ending)
        raise Failed

    def _request(self, body: bytes, headers: Mapping[str, str], number: int) -> UpstreamRequest:
        own = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", RETRY_COUNT: str(number)}
        return UpstreamRequest("POST", self._url, {**headers, **own}, body)

    async def _try(self, request: UpstreamRequest, number: int, began_at: float) -> Reply | float:
        """The reply, or the pause in seconds before the next try. Raises Failed."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await self._transport.send(request)
            with closing(answer):
                if answer.status == 200:
                    return await self._listen(answer, began_at)
                body = b""
                while data := await answer.read():  # to its end: the connection can then serve again
                    body += data
                delay_s, code = self._delay_s(number, answer.status, answer.headers), _code(body)
        except LOST:
            delay_s, code = self._delay_s(number, None, {}), ""
        if delay_s is None:
            raise Failed(code)
        return delay_s

    async def _listen(self, answer: UpstreamResponse, began_at: float) -> Reply:
        """From here on there is no second try: text may have been shown."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._read(answer, began_at)
        except LOST as error:
            raise Failed from error

    async def _read(self, answer: UpstreamResponse, began_at: float) -> Reply:
        splitter, parts, first_at, done = Splitter(), list[str](), began_at, False
        while data := await answer.read():
            for event in splitter.feed(data):
                _, said = fields_of(event)
                done = done or said == DONE
                text = "" if done or not said else _text(said)
                if text:
                    first_at = first_at if parts else self._clock.now()
                    parts.append(text)
        if not done:
            raise Failed
        told = answer.headers
        return Reply("".join(parts), first_at - began_at, told.get(TARGET, ""), told.get(SERVED_BY, ""))

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
