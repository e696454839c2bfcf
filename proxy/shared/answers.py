"""Known answers that gates find with each other: the last place where the exact cache looks.

What is in the store is an answer with its model's and its agent's name, under a name that only gates with the same
secret can make (HMAC-SHA-256, RFC 2104), sealed by them together with that name: whoever else can write there can take
answers away, and put none in. No prompt leaves the process, in whatever form. A purge is a line in one more key, read
with each answer, so it holds at once and for all; clocks of gates may differ by a minute.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import DecodeError, Struct, json

from proxy.caching.kept import Kept, belongs, packed, unpacked
from proxy.clock import Clock
from proxy.shared.link import Link, OutError
from proxy.state.shared_store import Store
from proxy.tasks import Tasks

SEAL_BYTES: Final = 32
WAITING_MAX: Final = 16 * 1024 * 1024  # bytes of answers on their way there
SKEW_S: Final = 60.0
PURGED_S: Final = 31 * 86_400.0  # longer than any answer is kept
PURGES_MAX: Final = 16 * 1024  # bytes; more of them become one purge of everything

PURGE: Final = """
local size = redis.pcall('APPEND', KEYS[1], ARGV[1])
if type(size) ~= 'number' or size > tonumber(ARGV[3]) then redis.call('SET', KEYS[1], ARGV[4]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1}
"""


class Purged(Struct, frozen=True, omit_defaults=True):
    """Answers that were stored until then are gone: those that all of it is true of."""

    wall: float
    agent: str | None = None
    route: str | None = None


_PURGED = json.Decoder(Purged)


class SharedAnswers:
    def __init__(self, link: Link, clock: Clock, tasks: Tasks, *, prefix: str, secret: bytes) -> None:
        self._link = link
        self._clock = clock
        self._tasks = tasks
        self._prefix = prefix
        self._secret = secret
        self._waiting = 0  # bytes
        self._untold: list[tuple[bytes | None, Purged]] = []  # purges that the store has not heard of
        self._one_by_one = asyncio.Lock()  # what is struck off must be what was told
        self.dropped = 0  # answers that were not put there, as too many were on their way

    def __repr__(self) -> str:
        return f"SharedAnswers({self._prefix}, {self._waiting} bytes under way)"

    async def find(self, key: bytes) -> Kept | None:
        """Also None where the store is out, or takes too long."""
        name = self._name(key)
        try:
            sealed, purges = await self._link.ask("get", lambda store: store.get([name, self._purges]))
        except OutError:
            return None
        kept = None if sealed is None else self._opened(sealed, name)
        if kept is None or _purged(kept, purges or b"") or self._to_be_purged(key, kept):
            return None
        return kept

    def put(self, key: bytes, kept: Kept, until_wall: float) -> None:
        """Does not wait."""
        ttl_s = until_wall - self._clock.wall()
        if ttl_s <= 0 or not self._link.up:
            return
        if self._waiting + kept.size > WAITING_MAX:
            self.dropped += 1
            return
        self._waiting += kept.size
        self._tasks.start("shared answer", self._put(key, kept, ttl_s))

    async def purge(self, agent: str | None, route: str | None, key: bytes | None) -> None:
        """From now on no gate is given them; where the store is out, this one at once and the others once it is back.
        All None: everything."""
        self._untold.append((key, Purged(self._clock.wall() + SKEW_S, agent, route)))
        await self.settle()

    async def settle(self) -> None:
        """Tells what could not be told; bounded by the purges of operators."""
        async with self._one_by_one:
            while self._untold and await self._told_of(*self._untold[0]):
                del self._untold[0]

    async def _told_of(self, key: bytes | None, purged: Purged) -> bool:
        if key is not None:
            name = self._name(key)
            return await self._told(lambda store: store.put(name, b"", 0.001))
        words = [_line(purged), str(int(PURGED_S * 1_000)), str(PURGES_MAX), _line(Purged(purged.wall))]
        return await self._told(lambda store: store.run(PURGE, [([self._purges], words)]))

    def _to_be_purged(self, key: bytes, kept: Kept) -> bool:
        return any(
            each in (None, key) and kept.stored_wall <= purged.wall and belongs(kept, purged.agent, purged.route)
            for each, purged in self._untold
        )

    async def _put(self, key: bytes, kept: Kept, ttl_s: float) -> None:
        name = self._name(key)
        data = packed(kept, name.encode())
        sealed = self._seal(name, data) + data
        try:
            await self._told(lambda store: store.put(name, sealed, ttl_s))
        finally:
            self._waiting -= kept.size

    async def _told(self, work: Callable[[Store], Awaitable[object]]) -> bool:
        try:
            await self._link.ask("put", work)
        except OutError:
            return False
        return True

    @property
    def _purges(self) -> str:
        return f"{self._prefix}:purged"

    def _name(self, key: bytes) -> str:
        return f"{self._prefix}:answer:{hmac.digest(self._secret, b'name ' + key, 'sha256').hex()}"

    def _seal(self, name: str, data: bytes) -> bytes:
        return hmac.digest(self._secret, b"seal " + name.encode() + data, "sha256")

    def _opened(self, sealed: bytes, name: str) -> Kept | None:
        data = sealed[SEAL_BYTES:]
        if not hmac.compare_digest(sealed[:SEAL_BYTES], self._seal(name, data)):
            return None
        return unpacked(data, name.encode())


def _purged(kept: Kept, purges: bytes) -> bool:
    """Also where nobody can read what was purged."""
    try:
        lines = [_PURGED.decode(line) for line in purges.splitlines()]
    except DecodeError:
        return True
    return any(kept.stored_wall <= each.wall and belongs(kept, each.agent, each.route) for each in lines)


def _line(purged: Purged) -> str:
    return json.encode(purged).decode() + "\n"
