"""The hour of a GPU, shared by those who use it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pricing.gpu import HOUR_S, GpuAccount, GpuMeter, GpuRate

RATE = GpuRate(2_500_000_000)


def test_the_rate_of_a_second_is_rounded_up() -> None:
    assert RATE.usd_nanos_per_s == 694_445
    assert GpuRate(2_500_000_000, gpus=8).usd_nanos_per_s == 5_555_556


def test_a_request_alone_pays_for_its_whole_time() -> None:
    meter = GpuMeter(RATE, 0.0)
    share = meter.end(meter.start(10.0), 12.0)
    assert (share.occupancy_s, share.cost_usd_nanos) == (2.0, 2 * 694_445)


def test_two_that_run_together_pay_half_each_while_they_do() -> None:
    meter = GpuMeter(RATE, 0.0)
    first = meter.start(0.0)
    second = meter.start(1.0)
    assert meter.end(first, 3.0).occupancy_s == 1.0 + 2.0 / 2
    assert meter.end(second, 4.0).occupancy_s == 2.0 / 2 + 1.0


def test_idle_time_is_the_operators() -> None:
    meter = GpuMeter(RATE, 0.0)
    meter.end(meter.start(0.0), 900.0)
    account = meter.book(HOUR_S)
    assert (account.elapsed_s, account.busy_s) == (HOUR_S, 900.0)
    assert account.charged_usd_nanos == 900 * 694_445
    assert account.idle_usd_nanos == 2_700 * 694_445
    assert not account.overcharged
    assert meter.book(HOUR_S + 1).charged_usd_nanos == 0


def test_idle_time_spread_over_requests_triples_their_price_at_most() -> None:
    meter = GpuMeter(GpuRate(2_500_000_000, spread_idle=True), 0.0)
    first = meter.end(meter.start(100.0), 101.0)
    assert (first.cost_usd_nanos, first.idle_usd_nanos) == (3 * 694_445, 2 * 694_445)
    busy = GpuMeter(GpuRate(2_500_000_000, spread_idle=True), 0.0)
    share = busy.end(busy.start(0.0), 50.0)
    assert (share.cost_usd_nanos, share.idle_usd_nanos) == (50 * 694_445, 0)


def test_a_day_that_is_over_no_longer_counts_as_idle() -> None:
    meter = GpuMeter(GpuRate(2_500_000_000, spread_idle=True), 0.0)
    for hour in range(1, 40):  # an idle first half, then always busy
        started = meter.start((hour - 1) * HOUR_S)
        if hour <= 10:
            meter.end(started, (hour - 1) * HOUR_S + 1)
        else:
            last = meter.end(started, hour * HOUR_S)
        meter.book(hour * HOUR_S)
    assert last.idle_usd_nanos == 0


def test_what_the_engine_serves_for_others_is_not_ours_to_pay() -> None:
    meter = GpuMeter(RATE, 0.0)
    started = meter.start(0.0)
    meter.engine_says(4, 0.0)
    assert meter.end(started, 4.0).occupancy_s == 1.0


def test_holds_expect_todays_company_or_none() -> None:
    meter = GpuMeter(RATE, 0.0)
    for _ in range(3):
        meter.start(0.0)
    assert meter.predicted_usd_nanos(8.0) == 2 * 694_445
    assert meter.most_usd_nanos(8.0) == 8 * 694_445


def test_more_than_the_time_cost_is_an_alarm() -> None:
    assert not GpuAccount(10.0, 10.0, 1_000, 1_010).overcharged
    assert GpuAccount(10.0, 10.0, 1_000, 1_011).overcharged


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), min_size=1, max_size=30))
def test_the_shares_add_up_to_the_busy_time(spans: list[tuple[int, int]]) -> None:
    meter = GpuMeter(RATE, 0.0)
    events = sorted(
        [(float(start), number, True) for number, (start, _) in enumerate(spans)]
        + [(float(start + length), number, False) for number, (start, length) in enumerate(spans)],
        key=lambda event: (event[0], event[2]),
    )
    started: dict[int, float] = {}
    total = 0.0
    for at, number, begins in events:
        if begins:
            started[number] = meter.start(at)
        else:
            total += meter.end(started[number], at).occupancy_s
    covered = {second for start, length in spans for second in range(start, start + length)}
    assert abs(total - len(covered)) < 1e-6
    assert abs(meter.book(1_000.0).busy_s - len(covered)) < 1e-6
