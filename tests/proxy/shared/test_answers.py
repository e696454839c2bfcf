"""Gates with one secret find each other's answers; nobody else can name, read the name of, or forge one."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from policies.breaker_state import CONSECUTIVE
from proxy.caching.kept import Kept, packed
from proxy.clock import SystemClock, loop_time
from proxy.shared.answers import PURGES_MAX, SEAL_BYTES, SKEW_S, WAITING_MAX, SharedAnswers
from proxy.shared.link import Link
from proxy.state.redis_client import Client
from proxy.tasks import Tasks
from tests.redis_server import RedisServer
from tests.shared_store import FakeStore

SECRET = b"s" * 32
KEY = b"k" * 32


class Silent:
    def asked(self, operation: str, outcome: str, seconds: float) -> None: ...

    def skipped(self, operation: str) -> None: ...


class Gate:
    def __init__(self, store: FakeStore | Client, secret: bytes = SECRET, *, timeout_s: float = 0.05) -> None:
        self.clock = SystemClock(seed=1, now=loop_time)
        self.tasks = Tasks(lambda _, error: pytest.fail(repr(error)))
        self.link = Link(store, self.clock, timeout_s=timeout_s, heard=Silent(), tell=lambda *_: None)
        self.answers = SharedAnswers(self.link, self.clock, self.tasks, prefix="hg", secret=secret)

    def kept(self, body: bytes = b"four", *, age_s: float = 0.0, agent: str = "a", route: str = "m") -> Kept:
        wall = self.clock.wall() - age_s
        return Kept(body, "application/json", "up/m", wall, wall + 100.0, agent, route, tokens=9, cost_usd_nanos=5)

    async def put(self, kept: Kept, key: bytes = KEY) -> None:
        self.answers.put(key, kept, self.clock.wall() + 100.0)
        await asyncio.sleep(0.04)


async def test_an_answer_of_one_gate_is_found_by_another_as_it_was() -> None:
    store = FakeStore(loop_time)
    one, other = Gate(store), Gate(store)
    kept = one.kept()
    await one.put(kept)
    assert await other.answers.find(KEY) == kept
    assert await other.answers.find(b"x" * 32) is None
    assert "four" not in repr(one.answers)


async def test_names_tell_nothing_and_are_made_by_the_secret() -> None:
    store = FakeStore(loop_time)
    await Gate(store).put(Gate(store).kept())
    await Gate(store, b"other").put(Gate(store).kept())
    names = [name for name in store.values if ":answer:" in name]
    assert len(set(names)) == 2
    assert all(KEY.hex() not in name for name in names)


async def test_whoever_can_write_there_can_take_away_and_forge_nothing() -> None:
    store = FakeStore(loop_time)
    gate = Gate(store)
    await gate.put(gate.kept())
    await gate.put(gate.kept(b"five"), b"x" * 32)
    names = [name for name in store.values if ":answer:" in name]
    first, second = (store.values[name] for name in names)
    unsealed = bytes(SEAL_BYTES) + packed(gate.kept(b"pay me"), names[0].encode())
    for forged in (second[0], first[0][:-1], b"", unsealed):
        store.values[names[0]] = forged, first[1]
        assert await gate.answers.find(KEY) is None
    store.values[names[0]] = first
    assert await gate.answers.find(KEY) is not None


async def test_nobody_waits_for_an_answer_to_be_stored_nor_long_for_one_that_may_be_there() -> None:
    store = FakeStore(loop_time)
    gate = Gate(store)
    store.delay_s, began = 0.2, loop_time()
    gate.answers.put(KEY, gate.kept(), gate.clock.wall() + 100.0)
    assert loop_time() == began
    for _ in range(CONSECUTIVE + 1):
        assert await gate.answers.find(KEY) is None
    assert loop_time() - began <= 0.05 * CONSECUTIVE + 0.001
    store.asked.clear()
    gate.answers.put(KEY, gate.kept(), gate.clock.wall() + 100.0)
    await asyncio.sleep(1)
    assert store.asked == []


async def test_no_heap_of_answers_grows_before_a_slow_store() -> None:
    store = FakeStore(loop_time)
    gate = Gate(store)
    store.delay_s = 0.04
    large = gate.kept(b"x" * (WAITING_MAX // 4))
    for at in range(6):
        gate.answers.put(bytes([at]) * 32, large, gate.clock.wall() + 100.0)
    assert gate.answers.dropped == 3
    await asyncio.sleep(1)
    assert len(store.values) == 3
    await gate.put(large)
    await asyncio.sleep(1)
    assert len(store.values) == 4


async def test_what_has_expired_is_not_stored() -> None:
    store = FakeStore(loop_time)
    gate = Gate(store)
    gate.answers.put(KEY, gate.kept(), gate.clock.wall() - 1.0)
    await asyncio.sleep(1)
    assert store.asked == []


@pytest.mark.parametrize(
    ("agent", "route", "key", "gone"),
    [
        (None, None, None, True),
        ("a", None, None, True),
        ("b", None, None, False),
        (None, "m", None, True),
        ("a", "other", None, False),
        (None, None, KEY, True),
        (None, None, b"x" * 32, False),
    ],
)
async def test_a_purge_holds_for_all_gates(agent: str | None, route: str | None, key: bytes | None, gone: bool) -> None:
    store = FakeStore(loop_time)
    one, other = Gate(store), Gate(store)
    await one.put(one.kept())
    await other.answers.purge(agent, route, key)
    await asyncio.sleep(0.01)
    for gate in (one, other):
        assert (await gate.answers.find(KEY) is None) == gone
    await one.put(structs.replace(one.kept(), stored_wall=one.clock.wall() + SKEW_S + 1))
    assert await other.answers.find(KEY) is not None


async def test_a_purge_that_the_store_did_not_hear_holds_here_and_everywhere_once_it_is_back() -> None:
    store = FakeStore(loop_time)
    one, other = Gate(store), Gate(store)
    await one.put(one.kept())
    await one.put(one.kept(), b"x" * 32)
    store.broken = True
    await one.answers.purge("a", None, KEY)
    store.broken = False
    assert await one.answers.find(KEY) is None
    assert await one.answers.find(b"x" * 32) is not None
    assert await other.answers.find(KEY) is not None
    await one.answers.settle()
    await asyncio.sleep(0.01)
    assert await other.answers.find(KEY) is None


async def test_no_purge_is_struck_off_untold_when_several_are_told_at_once() -> None:
    store = FakeStore(loop_time)
    one, other = Gate(store), Gate(store)
    agents = ["a", "b", "c"]
    for agent in agents:
        await one.put(one.kept(agent=agent), agent.encode() * 32)
    store.delay_s = 0.01
    await asyncio.gather(*[one.answers.purge(agent, None, None) for agent in agents], one.answers.settle())
    assert [await other.answers.find(agent.encode() * 32) for agent in agents] == [None] * 3


async def test_purges_that_nobody_can_read_hide_everything() -> None:
    store = FakeStore(loop_time)
    gate = Gate(store)
    await gate.put(gate.kept())
    store.values["hg:purged"] = b"{", 1e9
    assert await gate.answers.find(KEY) is None


async def test_a_purge_holds_where_another_program_has_put_something_in_its_place(redis: RedisServer) -> None:
    client = Client(redis.url, 2.0)
    gate = Gate(client, timeout_s=2.0)
    await gate.answers._put(KEY, gate.kept(), 100.0)
    await client.run("return {redis.call('LPUSH', KEYS[1], 'x')}", [(["hg:purged"], [])])
    await gate.answers.purge("a", None, None)
    assert await Gate(client, timeout_s=2.0).answers.find(KEY) is None
    await client.close()


async def test_many_purges_become_one_of_everything_in_a_real_store(redis: RedisServer) -> None:
    client = Client(redis.url, 2.0)
    gate = Gate(client, timeout_s=2.0)
    await gate.answers._put(KEY, gate.kept(), 100.0)
    assert await gate.answers.find(KEY) is not None
    await gate.answers.purge("b" * 64, None, None)
    assert await gate.answers.find(KEY) is not None
    for _ in range(PURGES_MAX // 100 + 2):
        await gate.answers.purge("b" * 64, None, None)
    assert await gate.answers.find(KEY) is None
    await gate.answers._put(b"x" * 32, gate.kept(), 100.0)
    await gate.answers.purge(None, None, b"x" * 32)
    await asyncio.sleep(0.02)
    assert await client.get([gate.answers._name(b"x" * 32)]) == [None]
    await client.close()
