"""The hour of a GPU, shared by those who use it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.book import cost_usd_nanos, hold_usd_nanos
from pricing.gpu import HOUR_S, GpuAccount, GpuMeter, GpuRate, cost_of, rate_of
from proxy.types import Usage

RATE = GpuRate(2_500_000_000)
SPREAD = GpuRate(2_500_000_000, spread_idle=True)
PRICE = RATE.price


def test_the_rate_of_a_second_is_rounded_up() -> None:
    assert RATE.usd_nanos_per_s == 694_445
    assert GpuRate(2_500_000_000, gpus=8).usd_nanos_per_s == 5_555_556


def test_the_name_of_a_price_says_what_a_second_costs() -> None:
    assert PRICE.id == "gpu-694445"
    assert rate_of(PRICE.id) == 694_445
    assert [rate_of(id) for id in ("gpu-", "gpu-x", "694445", "")] == [None] * 4


def test_tokens_of_an_engine_cost_nothing_but_its_time() -> None:
    assert cost_usd_nanos(Usage(1, 2, 3, 4, 5, 6, 7, 8, 9), PRICE) == 0
    assert hold_usd_nanos(PRICE, 1_000, 1_000) == 0
    assert cost_of(PRICE, 2.0) == RATE.cost_usd_nanos(2.0) == 2 * 694_445


def test_a_request_alone_pays_for_its_whole_time() -> None:
    meter = GpuMeter(RATE, 0.0)
    share = meter.end(meter.start(10.0), PRICE, 12.0)
    assert (share.occupancy_s, share.cost_usd_nanos, share.idle_usd_nanos) == (2.0, 2 * 694_445, 0)
    assert meter.in_flight == 0


def test_two_that_run_together_pay_half_each_while_they_do() -> None:
    meter = GpuMeter(RATE, 0.0)
    first = meter.start(0.0)
    second = meter.start(1.0)
    assert meter.occupancy_s(first, 2.0) == 1.5
    assert meter.spent_usd_nanos(first, PRICE, 2.0) == cost_of(PRICE, 1.5)
    assert meter.end(first, PRICE, 3.0).occupancy_s == 1.0 + 2.0 / 2
    assert meter.end(second, PRICE, 4.0).occupancy_s == 2.0 / 2 + 1.0


def test_a_request_pays_the_price_it_was_sent_at() -> None:
    meter = GpuMeter(RATE, 0.0)
    started = meter.start(0.0)
    before = meter.book(10.0, GpuRate(5_000_000_000))
    assert (before.price_usd_nanos, before.charged_usd_nanos) == (10 * 694_445, 0)
    assert meter.end(started, PRICE, 12.0).cost_usd_nanos == 12 * 694_445
    assert meter.book(20.0).price_usd_nanos == 10 * 1_388_889


def test_idle_time_is_the_operators() -> None:
    meter = GpuMeter(RATE, 0.0)
    meter.end(meter.start(0.0), PRICE, 900.0)
    assert meter.stretch(HOUR_S) == meter.book(HOUR_S)
    assert meter.stretch(HOUR_S) == GpuAccount(0.0, 0.0, 0, 0)


def test_a_stretch_says_what_nobody_was_charged() -> None:
    meter = GpuMeter(RATE, 0.0)
    meter.end(meter.start(0.0), PRICE, 900.0)
    account = meter.book(HOUR_S)
    assert (account.elapsed_s, account.busy_s) == (HOUR_S, 900.0)
    assert account.charged_usd_nanos == 900 * 694_445
    assert account.idle_usd_nanos == 2_700 * 694_445
    assert not account.overcharged
    assert meter.book(HOUR_S + 1).charged_usd_nanos == 0


def test_idle_time_spread_over_requests_triples_their_price_at_most() -> None:
    meter = GpuMeter(SPREAD, 0.0)
    first = meter.end(meter.start(100.0), PRICE, 101.0)
    assert (first.cost_usd_nanos, first.idle_usd_nanos) == (3 * 694_445, 2 * 694_445)
    busy = GpuMeter(SPREAD, 0.0)
    share = busy.end(busy.start(0.0), PRICE, 50.0)
    assert (share.cost_usd_nanos, share.idle_usd_nanos) == (50 * 694_445, 0)


def test_a_day_that_is_over_no_longer_counts_as_idle() -> None:
    meter = GpuMeter(SPREAD, 0.0)
    for hour in range(1, 40):  # an idle first half, then always busy
        started = meter.start((hour - 1) * HOUR_S)
        if hour <= 10:
            meter.end(started, PRICE, (hour - 1) * HOUR_S + 1)
        else:
            last = meter.end(started, PRICE, hour * HOUR_S)
        meter.book(hour * HOUR_S)
    assert last.idle_usd_nanos == 0


def test_holds_expect_todays_company_or_none() -> None:
    meter = GpuMeter(RATE, 0.0)
    for _ in range(3):
        meter.start(0.0)
    forecast = meter.forecast(PRICE, 0.0, left_s=60.0, usual_s=8.0)
    assert forecast.likely_usd_nanos(1_000) == 2 * 694_445
    assert forecast.most_usd_nanos == cost_of(PRICE, 60.25)
    assert forecast.guard_usd_nanos == cost_of(PRICE, 0.25)


@pytest.mark.parametrize(("tokens", "seconds"), [(0, 1.0), (100, 3.0), (10_000, 60.25)])
def test_until_it_is_known_how_long_answers_take_their_limit_says_it(tokens: int, seconds: float) -> None:
    forecast = GpuMeter(RATE, 0.0).forecast(PRICE, 0.0, left_s=60.0, usual_s=None)
    assert forecast.likely_usd_nanos(tokens) == cost_of(PRICE, seconds)


def test_holds_cover_idle_time_where_requests_pay_for_it() -> None:
    forecast = GpuMeter(SPREAD, 0.0).forecast(PRICE, 10.0, left_s=60.0, usual_s=8.0)
    assert forecast.likely_usd_nanos(0) == 3 * 8 * 694_445
    assert forecast.most_usd_nanos == cost_of(PRICE, 3 * 60.25)
    late = GpuMeter(RATE, 0.0).forecast(PRICE, 10.0, left_s=-1.0, usual_s=8.0)
    assert late.most_usd_nanos == late.likely_usd_nanos(0) == cost_of(PRICE, 0.25)


def test_more_than_the_time_cost_is_an_alarm() -> None:
    assert not GpuAccount(10.0, 10.0, 1_000, 1_010).overcharged
    assert GpuAccount(10.0, 10.0, 1_000, 1_011).overcharged


def test_a_meter_shows_what_runs() -> None:
    meter = GpuMeter(RATE, 0.0)
    meter.start(0.0)
    assert "in_flight=1" in repr(meter)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), min_size=1, max_size=30))
def test_the_shares_add_up_to_the_busy_time(spans: list[tuple[int, int]]) -> None:
    meter = GpuMeter(RATE, 0.0)
    events = sorted(
        [(float(start), number, True) for number, (start, _) in enumerate(spans)]
        + [(float(start + length), number, False) for number, (start, length) in enumerate(spans)],
        key=lambda event: (event[0], event[2]),
    )
    started: dict[int, float] = {}
    total, charged = 0.0, 0
    for at, number, begins in events:
        if begins:
            started[number] = meter.start(at)
        else:
            share = meter.end(started[number], PRICE, at)
            total += share.occupancy_s
            charged += share.cost_usd_nanos
    covered = {second for start, length in spans for second in range(start, start + length)}
    assert abs(total - len(covered)) < 1e-6
    account = meter.book(1_000.0)
    assert abs(account.busy_s - len(covered)) < 1e-6
    assert account.charged_usd_nanos == charged
    assert -len(spans) <= charged - 694_445 * len(covered) <= len(spans)
