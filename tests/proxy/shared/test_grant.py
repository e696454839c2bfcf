"""The script in a real Redis does what its model in Python does, to the microsecond and the last token."""

from __future__ import annotations

import asyncio
from random import Random

from policies.shared_rate import Ask
from proxy.shared.grant import SCRIPT, arguments, keys, told
from proxy.state.redis_client import Client
from tests.redis_server import RedisServer
from tests.shared_store import Model, read_back

ROOMY = Ask("agent:a:requests", 0.01, 6_000, 1, 3, 0, 0, 0.0)


def ask(name: str, **changed: int | float) -> Ask:
    values = {"interval_s": 6.0, "room": 10, "need": 0, "extra": 0, "debit": 0, "back": 0, "back_age_s": 0.0}
    return Ask(name, **(values | changed))  # type: ignore[arg-type]


async def asked(client: Client, *asks: Ask, known: bool = False) -> list[tuple[int, int]]:
    (reply,) = await client.run(SCRIPT, [(keys("hg", asks), arguments(asks, known=known, late_s=0.0))])
    return [(each.got, each.level) for each in told(reply)]


def test_what_is_asked_can_be_read_back() -> None:
    asks = [ROOMY, ask("key:k:tokens", need=5, debit=-2, back=7, back_age_s=1.5)]
    assert read_back(keys("hg", asks), arguments(asks, known=True, late_s=0.0)) == asks
    assert told([3, -2, 1_500_000])[0].wait_s == 1.5


async def test_all_that_a_call_needs_is_granted_or_nothing_of_it(redis: RedisServer) -> None:
    client = Client(redis.url, 2.0)
    assert await asked(client, ask("a", need=3, extra=2), ask("b", need=10)) == [(5, 5), (10, 0)]
    assert await asked(client, ask("a", need=3, extra=2), ask("b", need=1)) == [(0, 5), (0, 0)]
    assert await asked(client, ask("a", debit=8), ask("b", debit=-4)) == [(0, -3), (0, 4)]
    assert await asked(client, ask("a", debit=-0), ask("b", debit=-100)) == [(0, -3), (0, 10)]
    assert await asked(client, ask("c", need=25)) == [(25, -15)]  # larger than the bucket: once that is full
    assert await asked(client, ask("c", need=25)) == [(0, -15)]
    await client.close()


async def test_what_is_given_back_of_an_estimate_counts_only_where_the_bucket_has_not_been_full_since(
    redis: RedisServer,
) -> None:
    client = Client(redis.url, 2.0)
    assert await asked(client, ask("a", need=9)) == [(9, 1)]
    assert await asked(client, ask("a", back=4, back_age_s=1_000.0)) == [(0, 1)]
    assert await asked(client, ask("a", back=4, back_age_s=0.0)) == [(0, 5)]
    await client.close()


async def test_a_store_that_was_emptied_under_way_begins_with_nothing_and_a_new_one_is_full(redis: RedisServer) -> None:
    client = Client(redis.url, 2.0)
    assert await asked(client, ask("a", need=1), known=False) == [(1, 9)]
    redis.kill()
    redis.start()
    second = Client(redis.url, 2.0)
    assert await asked(second, ask("a", need=1), known=True) == [(0, 0)]
    assert await asked(second, ask("b", need=1), known=False) == [(0, 0)]
    await client.close()
    await second.close()


async def test_what_another_program_left_in_a_buckets_place_stops_nobody_and_that_bucket_begins_empty(
    redis: RedisServer,
) -> None:
    client = Client(redis.url, 2.0)
    await client.put("hg:rate:a", b"garbage", 60.0)
    assert await asked(client, ask("a", need=1), ask("b")) == [(0, 0), (0, 10)]
    assert await asked(client, ask("b", need=1)) == [(1, 9)]
    await client.run("redis.call('DEL', KEYS[1]) redis.call('LPUSH', KEYS[1], 'x') return {1}", [(["hg:rate:b"], [])])
    assert await asked(client, ask("b", need=1)) == [(0, 0)]
    await client.put("hg:rate:born", b"garbage", 60.0)
    assert await asked(client, ask("c", need=1), known=True) == [(0, 0)]
    await client.close()


async def test_buckets_that_are_full_leave_nothing_behind(redis: RedisServer) -> None:
    client = Client(redis.url, 2.0)
    await asked(client, ask("a", need=1, interval_s=0.001))
    assert await client.get(["hg:rate:a"]) != [None]
    await asyncio.sleep(0.01)
    await asked(client, ask("a", interval_s=0.001))
    assert await client.get(["hg:rate:a"]) == [None]
    await client.close()


async def test_script_and_model_agree_about_many_questions(redis: RedisServer) -> None:
    client, model, rng = Client(redis.url, 2.0), Model(), Random(7)
    loop = asyncio.get_running_loop()
    for _ in range(200):
        name, need = rng.choice(("a", "b")), rng.randrange(0, 5)
        values = {
            "need": need,
            "extra": rng.randrange(0, 3),
            "debit": rng.randrange(-2, 4),
            "back": rng.randrange(3),
        }
        one = ask(name, room=200, interval_s=1_000.0, **values)
        expected = [(each.got, each.level) for each in model.run([one], loop.time(), known=False)]
        found = await asked(client, one)
        assert [got for got, _ in found] == [got for got, _ in expected]
        assert abs(found[0][1] - expected[0][1]) <= 1
    await client.close()
