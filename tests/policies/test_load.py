"""What a call would cost at each target, in seconds, and what is learnt of them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from policies.load import TARGETS_MAX, Loads, Speed
from policies.speed import SECONDS_A_TOKEN, Load
from proxy.types import Call, Head, Target
from tests.build import call, target

A, B = target("a/m"), target("b/m")
BOTH = (A, B)
WARM = 100.0  # long after both were first seen


def stream(tokens: int) -> Call:
    return replace(call(head=Head(model="m", stream=True)), input_tokens_estimate=tokens)


def plain(tokens: int) -> Call:
    return replace(call(), input_tokens_estimate=tokens)


SHORT, LONG = stream(100), stream(8_000)


def warm() -> Loads:
    loads = Loads()
    loads.scores(SHORT, BOTH, 0.0)
    return loads


def served(loads: Loads, of: Call, at: Target, *, now: float, first_s: float, cached: int | None = None) -> None:
    ticket = loads.started(of, at, now)
    loads.first_event(ticket, now + first_s)
    loads.ended(ticket, now + first_s, cached)


def first_s(loads: Loads, of: Call, at: Target, now: float) -> float:
    """As foreseen, beside the other target."""
    return loads.first_events_s(of, BOTH, now)[BOTH.index(at)]


def test_what_was_never_asked_costs_what_its_prompt_takes_an_average_engine() -> None:
    assert warm().scores(LONG, BOTH, WARM) == [1.0, 1.0]


def test_a_call_waits_for_the_prompts_ahead_of_it() -> None:
    loads = warm()
    ticket = loads.started(LONG, A, WARM)
    assert loads.scores(SHORT, BOTH, WARM) == pytest.approx([1.0135, 0.0125], abs=1e-3)
    loads.first_event(ticket, WARM + 1)
    assert first_s(loads, SHORT, A, WARM + 1) == pytest.approx(0.0125)
    loads.ended(ticket, WARM + 5, None)
    assert first_s(loads, SHORT, A, WARM + 5) == pytest.approx(0.0125)


def test_answers_that_are_being_made_slow_a_target_down() -> None:
    loads = warm()
    ticket = loads.started(LONG, A, WARM)
    loads.first_event(ticket, WARM + 1)
    busy, idle = loads.scores(SHORT, BOTH, WARM + 1)
    assert busy - idle == pytest.approx(16 / 8_000)
    loads.ended(ticket, WARM + 2, None)
    busy, idle = loads.scores(SHORT, BOTH, WARM + 2)
    assert busy == idle


def test_a_slower_engine_is_known_by_its_long_prompts() -> None:
    loads = warm()
    for n in range(60):
        served(loads, LONG, A, now=WARM + 10 * n, first_s=4.0)
    assert first_s(loads, LONG, A, WARM + 600) == pytest.approx(4.0, rel=0.02)


def test_a_prompt_that_waited_behind_another_is_not_blamed_for_it() -> None:
    loads = warm()
    for n in range(60):
        now = WARM + 10 * n
        tickets = [loads.started(LONG, A, now) for _ in range(3)]
        for at, ticket in enumerate(tickets, 1):
            loads.first_event(ticket, now + at)
            loads.ended(ticket, now + at, None)
    assert first_s(loads, LONG, A, WARM + 600) == pytest.approx(1.0, rel=0.02)


def test_one_sample_moves_the_speed_no_further_than_four_times() -> None:
    loads = warm()
    served(loads, LONG, A, now=WARM, first_s=1_000.0)
    assert first_s(loads, LONG, A, WARM + 1_000) == pytest.approx(1.3)


def test_a_slower_provider_is_known_by_its_short_prompts() -> None:
    loads = warm()
    for n in range(20):
        served(loads, SHORT, A, now=WARM + n, first_s=2.0)
        served(loads, SHORT, B, now=WARM + n, first_s=0.2)
    slow, fast = loads.first_events_s(SHORT, BOTH, WARM + 22)
    assert fast == pytest.approx(0.2, rel=0.1)
    assert slow == pytest.approx(2.0, rel=0.1)


def test_short_prompts_that_waited_for_a_long_one_do_not_make_their_target_slow() -> None:
    loads = warm()
    served(loads, SHORT, A, now=WARM, first_s=0.2)
    for n in range(1, 10):
        now = WARM + 20 * n
        long, short = loads.started(LONG, A, now), loads.started(SHORT, A, now)
        for ticket, at in ((long, now + 2.0), (short, now + 2.2)):  # the long one takes twice as long as foreseen
            loads.first_event(ticket, at)
            loads.ended(ticket, at, None)
    assert first_s(loads, stream(0), A, WARM + 182.5) < 0.5


def test_an_engine_that_serves_one_after_another_is_told_from_a_provider_that_serves_all_at_once() -> None:
    loads = warm()
    for n in range(200):
        now = WARM + 10 * n
        for at in BOTH:
            tickets = [loads.started(SHORT, at, now) for _ in range(1 + n % 5)]
            for place, ticket in enumerate(tickets, 1):
                first = now + (place * 0.5 if at is A else 0.5)
                loads.first_event(ticket, first)
                loads.ended(ticket, first, None)
    now = WARM + 2_000
    for at in BOTH * 4:
        loads.started(SHORT, at, now)
    serial, parallel = loads.first_events_s(SHORT, BOTH, now)
    assert serial == pytest.approx(2.5, rel=0.2)
    assert parallel == pytest.approx(0.5, rel=0.4)


def test_plain_replies_have_a_time_of_their_own() -> None:
    loads = warm()
    for n in range(10):
        served(loads, plain(100), A, now=WARM + n, first_s=0.9)
        served(loads, SHORT, A, now=WARM + n + 0.9, first_s=0.1)
    assert first_s(loads, plain(100), A, WARM + 11) == pytest.approx(0.9, rel=0.1)
    assert first_s(loads, SHORT, A, WARM + 11) == pytest.approx(0.1, rel=0.15)


def test_a_reply_that_is_folded_from_a_stream_counts_as_a_stream() -> None:
    loads = warm()
    served(loads, SHORT, A, now=WARM, first_s=0.1)
    folded = replace(call(head=Head(model="m", folded=True)), input_tokens_estimate=100)
    assert first_s(loads, folded, A, WARM + 1) == first_s(loads, SHORT, A, WARM + 1)


def test_a_target_of_which_nothing_is_known_is_taken_for_as_good_as_the_best() -> None:
    loads = warm()
    served(loads, SHORT, A, now=WARM, first_s=3.0)
    a, b = loads.first_events_s(SHORT, BOTH, WARM + 3)
    assert a == b


def test_a_target_that_was_slow_is_believed_to_be_as_good_after_a_minute() -> None:
    loads = warm()
    for n in range(20):
        served(loads, SHORT, A, now=WARM + n, first_s=2.0)
        served(loads, SHORT, B, now=WARM + n, first_s=0.2)
    differences = [a - b for a, b in (loads.first_events_s(SHORT, BOTH, WARM + at) for at in (21, 51, 90))]
    assert differences[0] > 2 * differences[1] - 0.1 > 1.0
    assert differences[2] == pytest.approx(0.0)


def test_a_target_that_lets_its_first_in_line_wait_costs_more_by_the_second() -> None:
    loads = warm()
    served(loads, SHORT, A, now=WARM, first_s=0.2)
    loads.started(SHORT, A, WARM + 1)
    assert first_s(loads, SHORT, A, WARM + 11) > 9.5
    assert first_s(loads, SHORT, B, WARM + 11) < 0.3


def test_a_call_that_never_answered_teaches_that_it_would_have_taken_longer() -> None:
    loads = warm()
    for n in range(3):
        served(loads, SHORT, A, now=WARM + n, first_s=0.2)
    hung = loads.started(SHORT, A, WARM + 10)
    loads.ended(hung, WARM + 40, None)
    assert first_s(loads, SHORT, A, WARM + 40) > 0.5


def test_a_call_that_left_early_teaches_nothing() -> None:
    loads = warm()
    served(loads, SHORT, A, now=WARM, first_s=2.0)
    before = first_s(loads, SHORT, A, WARM + 3)
    loads.ended(loads.started(SHORT, A, WARM + 2), WARM + 2.5, None)
    assert first_s(loads, SHORT, A, WARM + 3) == before


def test_what_is_reported_as_cached_is_expected_of_the_next_prompts() -> None:
    loads = warm()
    for n in range(60):
        served(loads, LONG, A, now=WARM + 10 * n, first_s=0.5, cached=4_000)
    loads.started(LONG, A, WARM + 700)
    assert first_s(loads, SHORT, A, WARM + 700) < 0.6


def test_weights_divide_the_load_that_targets_carry() -> None:
    heavy, light = target("heavy/m", weight=3), target("light/m", weight=1)
    loads = Loads()
    loads.scores(SHORT, (heavy, light), 0.0)
    for at in (heavy, heavy, heavy, light):
        loads.started(LONG, at, WARM)
    of_heavy, of_light = loads.scores(SHORT, (heavy, light), WARM)
    assert of_heavy == pytest.approx(of_light)


@pytest.mark.parametrize(("age_s", "share"), [(0.0, 0.1), (15.0, 0.55), (30.0, 1.0), (300.0, 1.0)])
def test_what_a_new_target_has_ahead_counts_for_more_and_an_idle_one_is_as_good_as_any(
    age_s: float, share: float
) -> None:
    loads = warm()
    new = target("new/m")
    loads.scores(LONG, (A, new), WARM)
    idle_old, idle_new = loads.scores(LONG, (A, new), WARM + age_s)
    assert idle_old == idle_new, "else it would have nothing to show itself with"
    for each in (A, new):
        loads.first_event(loads.started(LONG, each, WARM + age_s), WARM + age_s + 1e-9)
        loads.started(SHORT, each, WARM + age_s)
    of_old, of_new = loads.scores(LONG, (A, new), WARM + age_s)
    old_s, new_s = loads.first_events_s(LONG, (A, new), WARM + age_s)
    assert old_s == new_s
    assert of_new >= of_old
    assert (of_new == of_old) == (share == 1.0)
    trust = loads.trust((A, new), WARM + age_s)
    assert trust == ([1.0, pytest.approx(share)] if age_s < 30 else None)


def test_a_target_that_was_out_of_order_is_as_good_as_new_and_warm_in_a_few_seconds() -> None:
    loads = warm()
    for n in range(20):
        served(loads, SHORT, A, now=WARM + n, first_s=9.0)
        served(loads, SHORT, B, now=WARM + n, first_s=0.2)
    loads.warming(A.id, WARM + 30, 5.0)
    assert loads.trust(BOTH, WARM + 30) == [pytest.approx(0.1), 1.0]
    assert loads.trust(BOTH, WARM + 35) is None
    a, b = loads.first_events_s(SHORT, BOTH, WARM + 35)
    assert a == b


@pytest.mark.parametrize(("samples", "believed"), [(1, 0.1), (4, 0.4), (10, 1.0), (20, 1.0)])
def test_that_a_target_is_slower_is_believed_as_far_as_there_are_samples(samples: int, believed: float) -> None:
    loads = warm()
    for _ in range(20):
        served(loads, SHORT, A, now=WARM, first_s=0.2)
    loads.warming(B.id, WARM, 5.0)
    for _ in range(samples):
        served(loads, SHORT, B, now=WARM, first_s=0.4)
    a, b = loads.first_events_s(SHORT, BOTH, WARM)
    known_a, known_b = loads.speed(A.id).first_s, loads.speed(B.id).first_s
    assert known_a is not None
    assert known_b is not None
    assert b - a == pytest.approx(believed * (known_b - known_a), rel=0.02)


@pytest.mark.parametrize(("learnt", "kept"), [(SECONDS_A_TOKEN / 10, SECONDS_A_TOKEN / 10), (1.0, SECONDS_A_TOKEN)])
def test_who_is_back_has_forgotten_that_it_was_slow_but_not_that_it_was_quick(learnt: float, kept: float) -> None:
    load = Load(0.0, 30.0)
    load.spt = load.ahead_spt = learnt
    load.renew(WARM, 5.0)
    assert (load.spt, load.ahead_spt, load.samples) == (kept, kept, 0)


def test_busy_is_the_share_of_the_last_minute_in_which_there_was_a_prompt_to_read() -> None:
    loads = warm()
    ticket = loads.started(LONG, A, WARM)
    assert ticket.load.busy_now(WARM) == 0.0
    assert ticket.load.busy_now(WARM + 300) > 0.99
    loads.ended(ticket, WARM + 300, None)
    assert ticket.load.busy_now(WARM + 360) == pytest.approx(0.3656, abs=0.01)


def test_a_target_that_rests_no_longer_makes_its_pool_busy() -> None:
    loads, fresh = warm(), warm()
    ticket = loads.started(LONG, A, WARM)
    loads.ended(ticket, WARM + 300, None)
    hour = WARM + 300 + 3_600
    learnt = Loads.scores(loads, LONG, (B,), hour), Loads.scores(loads, LONG, BOTH, hour)[1:]
    assert learnt[0] == pytest.approx(learnt[1])
    assert fresh.scores(LONG, (B,), hour) == pytest.approx(learnt[0])


def test_the_number_of_targets_that_are_known_is_bounded() -> None:
    loads = Loads()
    running = loads.started(SHORT, target("p/first"), 0.0)
    for n in range(TARGETS_MAX + 10):
        served(loads, SHORT, target(f"p/{n}"), now=1.0, first_s=0.1)
    loads.first_event(running, 2.0)
    loads.ended(running, 3.0, None)
    assert repr(loads).count("waiting") == TARGETS_MAX


def test_a_first_event_counts_once() -> None:
    loads = warm()
    ticket = loads.started(SHORT, A, WARM)
    loads.first_event(ticket, WARM + 1)
    loads.first_event(ticket, WARM + 9)
    loads.ended(ticket, WARM + 9, None)
    assert repr(loads) == "Loads(b/m: 0 waiting, 0 decoding; a/m: 0 waiting, 0 decoding)"
    assert "foreseen" in repr(ticket)


def test_what_was_learnt_is_told_and_nothing_that_was_not() -> None:
    loads = warm()
    assert loads.speed("nobody/m") == loads.speed("a/m") == Speed()
    served(loads, SHORT, A, now=WARM, first_s=0.5)
    served(loads, plain(100), A, now=WARM + 1, first_s=2.0)
    assert loads.speed("a/m") == Speed(0.5, 2.0, None)
    served(loads, LONG, A, now=WARM + 10, first_s=2.0)
    told = loads.speed("a/m").tokens_a_second
    assert told is not None
    assert 4_000 < told < 8_000
