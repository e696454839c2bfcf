"""The store as redis-py speaks to it; the only module that knows the library, loaded where a store is configured.

Each command is sent once: a retry would wait twice, and whoever asks has another answer ready. A connection whose reply
was not read to its end is closed, so no reply is ever taken for another's. Nothing is asked of an idle connection
either: each second something is said over one of them, and a dead one is found out by the timeout of a call that goes
on without it. Replies are bytes, as what is kept is not text.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        self._loaded: dict[str, str] = {}  # digests of scripts that the server has

    def __repr__(self) -> str:
        return f"Client({len(self._loaded)} scripts)"

    async def run(self, script: str, orders: Sequence[Order]) -> list[list[int]]:
        try:
            return await self._run(script, orders)
        except NoScriptError:  # it was restarted; nothing was done
            self._loaded.clear()
        except (RedisError, OSError) as error:
            raise _named(error) from error
        try:
            return await self._run(script, orders)
        except (RedisError, OSError) as error:
            raise _named(error) from error

    async def _run(self, script: str, orders: Sequence[Order]) -> list[list[int]]:
        if script not in self._loaded:
            self._loaded[script] = await self._redis.script_load(script)
        digest = self._loaded[script]
        pipeline = self._redis.pipeline(transaction=False)
        for keys, arguments in orders:
            pipeline.evalsha(digest, len(keys), *keys, *arguments)
        return [[int(number) for number in reply] for reply in await pipeline.execute()]

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


def _named(error: Exception) -> StoreError:
    """Without its text, which may name an address with a password."""
    return StoreError(type(error).__name__)
