"""What one target has shown of its speed; how it learns stands in `test_load`, over targets that are compared."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from policies.speed import COLD_SHARE, SECONDS_A_TOKEN, Load, Ticket
from proxy.types import Head
from tests.build import call

STREAM = replace(call(head=Head(model="m", stream=True)), input_tokens_estimate=8_000)


def test_what_is_expected_in_memory_is_not_read() -> None:
    load = Load(0.0, 0.0)
    assert Ticket(load, STREAM, 1.0, None).tokens == 8_000
    assert Ticket(load, STREAM, 1.0, 7_000.0).service_s == pytest.approx(1_000 * SECONDS_A_TOKEN)
    assert Ticket(load, STREAM, 1.0, 9_000.0).tokens == 0


def test_without_a_word_on_a_prompt_as_much_is_missing_as_of_others() -> None:
    load = Load(0.0, 0.0)
    load.uncached = 0.25
    assert load.missing(8_000, None) == 2_000
    assert load.missing(8_000, 0.0) == 8_000


def test_what_was_expected_in_vain_makes_a_target_look_no_more_than_four_times_as_slow() -> None:
    load = Load(0.0, 0.0)
    ticket = Ticket(load, STREAM, 1.0, 6_000.0)
    load.enter(ticket, 1.0)
    load.leave(ticket, 100.0)
    load.learn(ticket, 100.0)
    assert load.spt == pytest.approx(SECONDS_A_TOKEN * 1.3)


SHORT = replace(STREAM, input_tokens_estimate=800)


def entered(load: Load, count: int, now: float) -> list[Ticket]:
    """Short prompts that come together."""
    tickets: list[Ticket] = []
    for _ in range(count):
        tickets.append(Ticket(load, SHORT, now, None))
        load.enter(tickets[-1], now)
    return tickets


def side_by_side(load: Load) -> Ticket:
    """The last of six that all take 0.2 seconds."""
    tickets = entered(load, 6, 0.0)
    for ticket in tickets:
        load.leave(ticket, 0.2)
        load.learn(ticket, 0.2)
    return tickets[-1]


def test_where_short_prompts_are_answered_side_by_side_those_that_wait_are_no_queue() -> None:
    load = Load(0.0, 0.0)
    assert side_by_side(load).predicted_s > 0.55, "one after another, at the speed of an unknown engine"
    for _ in range(30):
        side_by_side(load)
    assert side_by_side(load).predicted_s == pytest.approx(0.2, rel=0.1)


def test_where_they_are_answered_one_after_another_those_that_wait_stay_a_line() -> None:
    load = Load(0.0, 0.0)
    for start in range(100):
        tickets = entered(load, 5, float(start))
        for place, ticket in enumerate(tickets, start=1):
            load.leave(ticket, start + 0.1 * place)
            load.learn(ticket, start + 0.1 * place)
    assert tickets[-1].predicted_s == pytest.approx(0.5, rel=0.1)


def test_a_long_prompt_tells_what_short_ones_only_bound() -> None:
    load = Load(0.0, 0.0)
    for _ in range(30):
        side_by_side(load)
    assert load.ahead_spt < SECONDS_A_TOKEN / 4
    ticket = Ticket(load, STREAM, 1.0, None)
    load.enter(ticket, 1.0)
    load.leave(ticket, 2.0)
    load.learn(ticket, 2.0)
    assert load.ahead_spt == load.spt == pytest.approx(SECONDS_A_TOKEN)
    side_by_side(load)
    assert load.ahead_spt == load.spt


def test_a_new_target_is_trusted_step_by_step() -> None:
    load = Load(0.0, 10.0)
    assert load.ramp(0.0) == pytest.approx(COLD_SHARE)
    assert load.ramp(5.0) == pytest.approx(0.55)
    assert load.ramp(10.0) == 1.0
