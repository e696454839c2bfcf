"""The store as redis-py speaks to it; the only module that knows the library, loaded where a store is configured.

Each command is sent once: a retry would wait twice, and whoever asks has another answer ready. A connection whose reply
was not read to its end is closed, so no reply is ever taken for another's. Nothing is asked of an idle connection
either: each second something is said over one of them, and a dead one is found out by the timeout of a call that goes
on without it. Replies are bytes, as what is kept is not text.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from proxy.state.shared_store import Order, StoreError

CONNECTIONS_MAX = 16  # of one process


class Client:
    """Implements `shared_store.Store`. Raises ValueError: the address is none."""

    def __init__(self, url: str, timeout_s: float) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            decode_responses=False,
            client_name="headgate",
        )
        self._redis = Redis(connection_pool=pool)

    def __repr__(self) -> str:
        return "Client()"  # the address may hold a password

    async def run(self, script: str, orders: Sequence[Order]) -> list[list[int]]:
        try:
            replies = await self._run(script, orders)
            strange = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if strange:  # it is new there, or the server was restarted; what was done is not done again
                await self._redis.script_load(script)
                again = await self._run(script, [orders[at] for at in strange])
                for at, reply in zip(strange, again, strict=True):
                    replies[at] = reply
            return [_whole(reply) for reply in replies]
        except (RedisError, OSError) as error:
            raise _named(error) from error

    async def _run(self, script: str, orders: Sequence[Order]) -> list[object]:
        digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
        pipeline = self._redis.pipeline(transaction=False)
        for keys, arguments in orders:
            pipeline.evalsha(digest, len(keys), *keys, *arguments)
        return list(await pipeline.execute(raise_on_error=False))

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        try:
            found = await self._redis.mget(keys)
        except (RedisError, OSError) as error:
            raise _named(error) from error
        return [value if isinstance(value, bytes) else None for value in found]

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        try:
            await self._redis.set(key, value, px=max(1, int(ttl_s * 1_000)))
        except (RedisError, OSError) as error:
            raise _named(error) from error

    async def ping(self) -> None:
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            raise _named(error) from error

    async def close(self) -> None:
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()


def _whole(reply: object) -> list[int]:
    if isinstance(reply, Exception):
        raise reply
    assert isinstance(reply, list)
    return [int(number) for number in reply]


def _named(error: Exception) -> StoreError:
    """Without its text, which may name an address with a password."""
    return StoreError(type(error).__name__)
