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


def test_a_new_target_is_trusted_step_by_step() -> None:
    load = Load(0.0, 10.0)
    assert load.ramp(0.0) == pytest.approx(COLD_SHARE)
    assert load.ramp(5.0) == pytest.approx(0.55)
    assert load.ramp(10.0) == 1.0
