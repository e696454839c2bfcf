"""The time of engines of one's own, hour by hour: what it cost, who paid, and that a reload loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from pricing.gpu import GpuRate
from proxy.clock import SystemClock, loop_time
from proxy.money.gpus import GpuBooked, GpuBooks, Gpus
from proxy.money.shared_board import SharedBoards
from proxy.tasks import Tasks

CHEAP, DEAR = GpuRate(3_600_000_000), GpuRate(7_200_000_000)  # a second: one million, two million nano-dollars


class World:
    """A ledger, metrics and a log in one."""

    def __init__(self) -> None:
        clock = SystemClock(seed=1, now=loop_time)
        self.gpus = Gpus(clock)
        self.booked: list[tuple[str, GpuBooked]] = []
        self.elapsed = self.charged = 0
        self.told: list[str] = []
        self.books = GpuBooks(self.gpus, clock, events=self, counters=self, tell=self.tell)

    def append_event(self, kind: str, subject: str, body: object) -> None:
        assert kind == "gpu"
        assert isinstance(body, GpuBooked)
        self.booked.append((subject, body))

    def gpu_time(self, provider: str, *, elapsed_usd_nanos: int, charged_usd_nanos: int) -> None:
        self.elapsed += elapsed_usd_nanos
        self.charged += charged_usd_nanos

    def tell(self, event: str, level: str, fields: Mapping[str, str | int]) -> None:
        self.told.append(event)

    async def call(self, seconds: float, rate: GpuRate = CHEAP) -> int:
        meter = self.gpus.meter("a", rate)
        started = meter.start(loop_time())
        await asyncio.sleep(seconds)
        return meter.end(started, rate.price, loop_time()).cost_usd_nanos


async def test_every_hour_says_what_was_charged_and_what_stood_idle() -> None:
    world, failed = World(), list[str]()
    world.books.use({"a": CHEAP})
    tasks = Tasks(lambda name, error: failed.append(name))
    tasks.start("gpus", world.books.keep())
    costs = [await world.call(600), *await asyncio.gather(world.call(300), world.call(300))]
    await asyncio.sleep(3_000)
    ((provider, hour),) = world.booked
    assert (provider, hour.account, hour.busy_s, hour.usd_nanos_per_s) == ("a", "ops", "900.000000", 1_000_000)
    assert 3_600 <= float(hour.elapsed_s) <= 3_610
    assert hour.charged_usd_nanos == sum(costs) == 900_000_000
    assert hour.charged_usd_nanos + hour.idle_usd_nanos == hour.price_usd_nanos
    assert abs(hour.price_usd_nanos - 1_000_000 * float(hour.elapsed_s)) <= 1
    await asyncio.sleep(1_000)
    assert len(world.booked) == 1
    assert world.charged == 900_000_000
    assert 4_870_000_000 <= world.elapsed <= 4_900_000_000  # at most ten seconds old, and nothing counted twice
    await tasks.close()
    world.books.book()
    assert len(world.booked) == 2
    assert world.elapsed == sum(body.price_usd_nanos for _, body in world.booked)
    assert (failed, world.told) == ([], [])


async def test_a_reload_goes_on_with_the_same_meter() -> None:
    world = World()
    world.books.use({"a": CHEAP})
    meter = world.gpus.meter("a", CHEAP)
    await asyncio.sleep(10)
    world.books.use({"a": CHEAP})
    assert world.booked == []
    assert world.gpus.meter("a", CHEAP) is meter


async def test_another_price_holds_from_the_reload_on() -> None:
    world = World()
    world.books.use({"a": CHEAP})
    await asyncio.sleep(10)
    world.books.use({"a": DEAR})
    await asyncio.sleep(10)
    world.books.book()
    assert [(body.usd_nanos_per_s, body.price_usd_nanos) for _, body in world.booked] == [
        (1_000_000, 10_000_000),
        (2_000_000, 20_000_000),
    ]


async def test_an_engine_that_is_no_longer_configured_is_booked_once_more() -> None:
    world = World()
    world.books.use({"a": CHEAP, "b": CHEAP})
    meter = world.gpus.meter("a", CHEAP)
    await asyncio.sleep(10)
    world.books.use({"b": CHEAP})
    await asyncio.sleep(10)
    world.books.book()
    assert [(provider, body.price_usd_nanos) for provider, body in world.booked] == [
        ("a", 10_000_000),
        ("b", 20_000_000),
    ]
    assert world.gpus.meter("a", CHEAP) is not meter


async def test_the_time_of_an_engine_begins_when_its_configuration_comes_into_force() -> None:
    world = World()
    world.gpus.meter("a", DEAR)  # for a configuration that was refused
    await asyncio.sleep(100)
    world.books.use({"a": CHEAP})
    await asyncio.sleep(10)
    world.books.book()
    assert [body.price_usd_nanos for _, body in world.booked] == [10_000_000]


async def test_calls_that_pay_more_than_the_time_cost_are_an_alarm() -> None:
    world = World()
    world.books.use({"a": CHEAP})
    await world.call(10, DEAR)
    world.books.book()
    assert world.told == ["gpu overcharged"]
    assert world.booked[0][1].idle_usd_nanos == 0


def test_what_is_kept_can_be_looked_at() -> None:
    assert repr(Gpus(SystemClock(seed=1, now=lambda: 0.0))) == "Gpus({})"


async def test_in_a_worker_a_reload_changes_rates_and_forgets_engines_that_are_gone() -> None:
    gpus = Gpus(SystemClock(seed=1, now=loop_time))
    kept, gone = gpus.meter("a", CHEAP), gpus.meter("b", CHEAP)
    gpus.use({"a": DEAR, "c": CHEAP})
    assert kept.rate == DEAR
    assert gpus.meter("a", CHEAP) is kept
    assert gpus.meter("b", CHEAP) is not gone


async def test_a_dead_workers_calls_are_struck_at_every_engine(tmp_path: Path) -> None:
    clock = SystemClock(seed=1, now=loop_time)
    owner, worker = (Gpus(clock, SharedBoards(tmp_path, 2, number)) for number in (None, 1))
    meters = [owner.meter(name, CHEAP) for name in ("a", "b")]
    for name in ("a", "b"):
        worker.meter(name, CHEAP).start(loop_time())
    assert [meter.in_flight for meter in meters] == [1, 1]
    owner.strike(1)
    assert [meter.in_flight for meter in meters] == [0, 0]
