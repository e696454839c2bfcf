"""A real Redis: what is kept comes back, and whatever goes wrong is one kind of error, within its time."""

from __future__ import annotations

import asyncio

import pytest

from proxy.state.redis_client import CONNECTIONS_MAX, Client
from proxy.state.shared_store import StoreError
from tests.redis_server import RedisServer, free_port

ECHO = "return {tonumber(ARGV[1])}"
WRONG = "return redis.call('NO SUCH COMMAND')"


async def test_bytes_come_back_as_they_were_and_are_gone_in_time(redis: RedisServer) -> None:
    client = Client(redis.url, 2.0)
    await client.put("k", b"\x00\xff", 100.0)
    await client.put("short", b"x", 0.001)
    await asyncio.sleep(0.05)
    assert await client.get(["k", "short", "never"]) == [b"\x00\xff", None, None]
    await client.ping()
    await client.close()


async def test_scripts_are_loaded_where_they_are_not_known_also_after_a_restart(redis: RedisServer) -> None:
    client = Client(redis.url, 2.0)
    assert await client.run(ECHO, [([], ["1"]), ([], ["2"])]) == [[1], [2]]
    redis.kill()
    redis.start()
    with pytest.raises(StoreError):  # over the connection that it had
        await client.ping()
    assert await client.run(ECHO, [([], ["3"])]) == [[3]]
    await client.close()


async def test_errors_are_of_one_kind_and_name_no_address(redis: RedisServer) -> None:
    client = Client(redis.url, 2.0)
    with pytest.raises(StoreError):
        await client.run(WRONG, [([], [])])
    await client.close()
    nobody = Client(f"redis://:pass@127.0.0.1:{free_port()}/0", 0.5)
    for asked in (nobody.ping(), nobody.get(["k"]), nobody.put("k", b"", 1.0), nobody.run(ECHO, [([], ["1"])])):
        with pytest.raises(StoreError, match=r"^ConnectionError$"):
            await asked
    await nobody.close()


async def test_a_black_hole_is_an_error_in_time_and_its_late_answers_are_nobodys(redis: RedisServer) -> None:
    client = Client(redis.url, 0.2)
    await client.put("a", b"a", 100.0)
    await client.put("b", b"b", 100.0)
    redis.freeze()
    with pytest.raises(StoreError, match=r"^TimeoutError$"):
        await client.get(["a"])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):  # whoever asked has given up
            await client.get(["a"])
    redis.thaw()
    assert await client.get(["b"]) == [b"b"]
    assert await asyncio.gather(*[client.get(["b"]) for _ in range(3 * CONNECTIONS_MAX)]) == [[b"b"]] * (
        3 * CONNECTIONS_MAX
    )
    await client.close()


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="scheme"):
        Client("http://127.0.0.1", 1.0)
