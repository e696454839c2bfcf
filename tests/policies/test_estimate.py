"""What is learnt of calls, and that it stays bounded, integer and never too low."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, structs

from policies import estimate
from policies.estimate import Expected, Experience, Histogram, Sample
from proxy.types import Call, Endpoint, Head, Identity, Usage
from tests.build import call, target

TARGET = target()
STREAM = call(head=Head(model="m", stream=True))


def learnt(*samples: Sample, of: Call = STREAM) -> Expected:
    experience = Experience()
    for sample in samples:
        experience.ended(of, TARGET, sample)
    return experience.expected(of, TARGET)


def plain(input: int = 100, output: int = 10) -> Sample:
    return Sample(Usage(input_uncached=input, output=output), whole=True)


def streamed(output: int = 10, *, bytes: int = 1_000, seen: int = 10, seconds: float = 1.0, thought: int = 0) -> Sample:
    usage = Usage(input_uncached=100, output=output, reasoning=thought)
    return Sample(usage, whole=True, stream_bytes=bytes, seen=seen, stream_s=seconds)


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=300), st.sampled_from((1, 500, 950, 999, 1_000)))
def test_a_quantile_is_at_most_a_sixteenth_too_high_and_never_too_low(values: list[int], permille: int) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    true = sorted(values)[-(-len(values) * permille // 1_000) - 1]
    assert true <= histogram.quantile(permille) <= true * 17 / 16


def test_old_samples_weigh_less_than_new_ones() -> None:
    histogram = Histogram()
    for value in [10] * 8_000 + [20] * 6_000:
        histogram.add(value)
    assert histogram.total < estimate.SAMPLES_MAX
    assert histogram.quantile(500) == 20


def test_an_empty_histogram_has_no_quantile() -> None:
    assert Histogram().quantile(950) == 0


def test_the_margin_is_half_as_much_again_until_two_hundred_calls_have_shown_a_better_one() -> None:
    assert learnt().input_margin == 150 + 64
    assert learnt(*[plain(100)] * 199).input_margin == 150 + 64
    assert learnt(*[plain(100)] * 200).input_margin in range(100, 108)


def test_the_observed_margin_covers_all_but_one_call_in_a_thousand() -> None:
    rng = Random(1)
    experience, over = Experience(), 0
    for number in range(6_000):
        reported = round(100 * rng.lognormvariate(0, 0.3))
        if number >= 1_000:
            over += reported > experience.expected(STREAM, TARGET).input_margin
        experience.ended(STREAM, TARGET, plain(reported))
    assert over <= 10


def test_the_estimate_follows_what_is_reported_and_never_falls_below_a_quarter_of_the_bytes() -> None:
    assert learnt(*[plain(250)] * 50).input_tokens in range(240, 260)
    assert learnt(*[plain(50)] * 50).input_tokens == 100


def test_what_one_key_teaches_does_not_hold_for_another() -> None:
    experience = Experience()
    for _ in range(300):
        experience.ended(STREAM, TARGET, plain(1_000, 900))
    other = structs.replace(STREAM, identity=Identity(key_id="other", agent="b"))
    assert experience.expected(other, TARGET) == Experience().expected(other, TARGET)


def test_the_length_of_answers_is_known_after_twenty_of_them() -> None:
    assert learnt(*[plain(output=30)] * 19).q95 is None
    expected = learnt(*[plain(output=10)] * 15, *[plain(output=30)] * 5)
    assert (expected.q50, expected.q95) == (10, 30)


def test_the_length_is_that_of_one_choice() -> None:
    both = structs.replace(STREAM, head=Head(model="m", stream=True, choices=2))
    assert learnt(*[plain(output=20)] * 20, of=both).q95 == 10


def test_an_answer_that_did_not_come_to_its_end_teaches_no_length() -> None:
    assert learnt(*[structs.replace(plain(), whole=False)] * 30).q95 is None


def test_bytes_of_a_stream_become_tokens_at_the_rate_that_was_reported() -> None:
    assert learnt().tokens_per_byte is None
    assert learnt(streamed(10, bytes=1_000)).tokens_per_byte == 0.01
    assert learnt(plain()).tokens_per_byte is None


def test_a_stream_that_repeats_its_text_has_no_rate() -> None:
    experience = Experience()
    experience.ended(STREAM, TARGET, streamed())
    assert experience.expected(structs.replace(STREAM, endpoint="responses"), TARGET).tokens_per_byte is None


def test_the_guard_is_a_quarter_of_a_second_of_the_targets_speed() -> None:
    assert learnt().guard_tokens == 16
    assert learnt(streamed(10, seconds=1.0)).guard_tokens == 16
    assert learnt(streamed(400, seconds=1.0)).guard_tokens == 100
    assert learnt(streamed(400, seconds=0.1)).guard_tokens == 16, "too short to tell of speed"


def test_only_what_comes_as_a_stream_of_text_can_be_watched() -> None:
    def watched(endpoint: Endpoint = "chat", *, stream: bool = True, **fields: Raw) -> bool:
        asked = structs.replace(STREAM, endpoint=endpoint, head=Head(model="m", stream=stream, fields=fields))
        return Experience().expected(asked, TARGET).watched

    assert watched()
    assert watched("responses")
    assert not watched(stream=False)
    assert not watched("speech")
    assert not watched(reasoning_effort=Raw(b'"high"'))


def test_a_target_that_thinks_unseen_cannot_be_watched_until_it_shows_its_thinking() -> None:
    assert not learnt(streamed(10, thought=500, seen=11)).watched
    assert learnt(streamed(10, thought=500, seen=480)).watched
    thinking = structs.replace(STREAM, head=Head(model="m", stream=True, fields={"reasoning_effort": Raw(b'"low"')}))
    assert learnt(streamed(10, thought=500, seen=480), of=thinking).watched


def test_hidden_thinking_does_not_spoil_the_rate() -> None:
    assert learnt(streamed(10), streamed(10, thought=5_000, seen=10)).tokens_per_byte == 0.01


def test_names_from_clients_are_forgotten_the_longest_unused_first() -> None:
    experience = Experience()
    for number in range(estimate.KEPT_MAX + 10):
        who = Identity(key_id="k", agent=f"a{number}")
        experience.ended(structs.replace(STREAM, identity=who), TARGET, plain())
    assert repr(experience) == f"Experience(1 inputs, {estimate.KEPT_MAX} outputs, 0 paces)"


def test_how_long_answers_take_is_remembered_for_each_target_the_recent_ones_first() -> None:
    experience = Experience()
    assert experience.seconds(TARGET) is None
    for _ in range(50):
        experience.took(TARGET, 2.0)
    assert experience.seconds(TARGET) == pytest.approx(2.0)
    experience.took(TARGET, 12.0)
    assert experience.seconds(TARGET) == pytest.approx(3.0)
    assert experience.seconds(target("other/model")) is None
