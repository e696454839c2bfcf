from __future__ import annotations

from policies.estimate import Expected, Experience
from pricing.gpu import GpuMeter, GpuRate
from proxy.execution.occupancy import Occupancy
from tests import build

RATE = GpuRate(3_600_000_000)  # a second costs a million nano-dollars
TARGET = build.target("gpu-a/qwen", price=RATE.price)


def occupancy(meter: GpuMeter | None = None) -> Occupancy:
    found = Occupancy.of(meter or GpuMeter(RATE, 0.0), TARGET)
    assert found is not None
    return found


def test_there_is_one_only_where_time_is_what_costs() -> None:
    assert Occupancy.of(GpuMeter(RATE, 0.0), build.target()) is None
    assert Occupancy.of(GpuMeter(RATE, 0.0), build.target(price=None)) is None


def test_it_is_charged_once_from_the_first_byte_sent() -> None:
    meter = GpuMeter(RATE, 0.0)
    one = occupancy(meter)
    assert one.spent_usd_nanos(5.0) == 0
    for now in (10.0, 11.0):  # a request may be handed to a second connection
        one.start(now)
    assert meter.in_flight == 1
    assert one.spent_usd_nanos(12.0) == 2_000_000
    for now in (13.0, 20.0):
        one.end(now)
    assert one.share is not None
    assert (one.share.occupancy_s, one.share.cost_usd_nanos, meter.in_flight) == (3.0, 3_000_000, 0)
    assert "3000000" in repr(one)


def test_what_was_never_sent_has_no_share() -> None:
    one, learnt = occupancy(), Experience()
    one.end(5.0)
    one.learn(learnt)
    assert one.share is None
    assert learnt.seconds(TARGET) is None


def test_the_next_hold_goes_by_how_long_answers_took() -> None:
    learnt, expected = Experience(), Expected(100, 200)
    first = occupancy()
    foreseen = first.foresee(expected, learnt, left_s=60.0, now=0.0).time
    assert foreseen is not None
    assert foreseen.likely_usd_nanos(100) == 3_000_000
    first.start(0.0)
    first.end(8.0)
    first.learn(learnt)
    foreseen = occupancy().foresee(expected, learnt, left_s=60.0, now=0.0).time
    assert foreseen is not None
    assert (foreseen.likely_usd_nanos(100), foreseen.most_usd_nanos) == (8_000_000, 60_250_000)
