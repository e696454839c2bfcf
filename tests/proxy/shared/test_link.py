"""Nobody waits long for a store that does not answer, soon nobody waits at all, and it is noticed when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from policies.breaker_state import CONSECUTIVE
from proxy.clock import SystemClock, loop_time
from proxy.shared.link import HEARD_S, Link, OutError
from proxy.state.shared_store import Store
from proxy.telemetry.log import Field, Level
from tests.shared_store import FakeStore


class Told:
    def __init__(self) -> None:
        self.asked_for: list[tuple[str, str]] = []
        self.log: list[tuple[str, Level, Mapping[str, Field]]] = []

    def asked(self, operation: str, outcome: str, seconds: float) -> None:
        assert 0 <= seconds <= 0.05001
        self.asked_for.append((operation, outcome))

    def skipped(self, operation: str) -> None:
        self.asked_for.append((operation, "skipped"))

    def tell(self, name: str, level: Level, fields: Mapping[str, Field]) -> None:
        self.log.append((name, level, fields))


def made() -> tuple[Link, FakeStore, Told]:
    store, told = FakeStore(loop_time), Told()
    link = Link(store, SystemClock(seed=1, now=loop_time), timeout_s=0.05, heard=told, tell=told.tell)
    return link, store, told


async def _get(store: Store) -> list[bytes | None]:
    return await store.get(["k"])


async def fails(link: Link) -> float:
    """How long it took."""
    began = loop_time()
    with pytest.raises(OutError):
        await link.ask("get", _get)
    return loop_time() - began


async def test_answers_come_through_and_are_counted() -> None:
    link, store, told = made()
    store.values["k"] = b"v", 1e9
    assert await link.ask("get", _get) == [b"v"]
    assert told.asked_for == [("get", "ok")]
    assert link.up
    assert "closed" in repr(link)


async def test_a_store_that_is_slow_or_refuses_is_asked_no_more_after_a_few_times() -> None:
    for broken, delay_s, outcome, why in (
        (True, 0.0, "error", "ConnectionError"),
        (False, 0.2, "timeout", "no answer within 50 ms"),
    ):
        link, store, told = made()
        store.broken, store.delay_s = broken, delay_s
        waited = [await fails(link) for _ in range(CONSECUTIVE + 2)]
        assert waited[-2:] == [0.0, 0.0]
        assert max(waited) <= 0.0501
        assert [each for _, each in told.asked_for] == [outcome] * CONSECUTIVE + ["skipped"] * 2
        ((name, level, fields),) = told.log
        assert (name, level, fields["why"]) == ("shared store out", "warning", why)


async def test_probes_find_out_that_it_is_back() -> None:
    link, store, told = made()
    store.broken = True
    for _ in range(CONSECUTIVE):
        await fails(link)
    for _ in range(3):
        await link.probe()
        assert not link.up
    store.broken = False
    await link.probe()
    assert link.up
    assert [name for name, _, _ in told.log] == ["shared store out", "shared store back"]
    store.broken = True
    await fails(link)
    assert not link.up, "it is on probation"
    assert [name for name, _, _ in told.log][2:] == ["shared store out"]


async def test_one_that_falls_silent_between_two_probes_is_not_taken_for_well() -> None:
    link, store, _ = made()
    store.broken = True
    for _ in range(CONSECUTIVE):
        await fails(link)
    store.broken, store.delay_s = False, 0.02
    asyncio.get_running_loop().call_later(0.03, setattr, store, "broken", True)
    await link.probe()
    assert link.breaker.state == "open"


async def test_it_counts_as_out_from_when_it_can_have_granted_nothing_any_more() -> None:
    link, store, _ = made()
    began = loop_time()
    assert link.out_since == began + HEARD_S  # nothing was granted here yet: what fills up fills up from now
    await asyncio.sleep(10)
    await link.beat()
    assert link.out_since == loop_time() + HEARD_S
    await link.beat()
    assert store.asked == ["ping"]  # it has just been heard
    store.broken = True
    await asyncio.sleep(5)
    await link.beat()
    assert link.out_since == loop_time() - 5 + HEARD_S


async def test_closing_closes_the_store() -> None:
    link, store, _ = made()
    await link.close()
    assert store.closed
