"""A target's room: configured, told by its replies, shut by its refusals."""

from __future__ import annotations

import pytest

from policies.provider_limits import PACED_FOR_S, TargetLimits, TargetRules, Told
from policies.rate_limit import Account, Rates

NOTHING = Rates()


def room(own: Rates = NOTHING, provider: Rates = NOTHING, share: float = 1.0) -> TargetLimits:
    return TargetLimits(Account("target:p/m", own, share), Account("provider:p", provider, share))


def go(limits: TargetLimits, tokens: int, now: float) -> None:
    limits.take(tokens, now)
    limits.release()


def test_a_target_nobody_limits_always_has_room() -> None:
    limits = room()
    for _ in range(1_000):
        assert limits.fits(10**6, 1000.0)
        limits.take(10**6, 1000.0)
    assert not limits.limited
    assert limits.ratio("requests", 1000.0) == limits.ratio("tokens", 1000.0) == 1.0
    assert limits.shortages(5, 1000.0) == ()


@pytest.mark.parametrize(
    ("own", "provider", "fit"),
    [
        (Rates(rpm=5), NOTHING, 5),
        (NOTHING, Rates(rpm=4), 4),
        (Rates(rpm=5), Rates(tpm=300), 3),
        (Rates(concurrency=2), Rates(rpm=9), 2),
        (NOTHING, Rates(concurrency=7), 7),
    ],
)
def test_the_tightest_of_what_is_configured_holds(own: Rates, provider: Rates, fit: int) -> None:
    limits, went = room(own, provider), 0
    while limits.fits(100, 1000.0):
        limits.take(100, 1000.0)
        went += 1
    assert went == fit
    assert limits.shortages(100, 1000.0)


@pytest.mark.parametrize(
    ("told", "waits"),
    [
        # OpenAI: a bucket; the time until it is full tells its pace
        (Told("requests", 0, 60, 60.0), [1.0, 2.0, 3.0]),
        (Told("requests", 2, 5_000, 59.976), [0.0, 0.0, 0.012]),
        # Groq: requests of a day
        (Told("requests", 0, 14_400, 86_400.0), [6.0, 12.0, 18.0]),
        # Mistral: no time; a minute is meant
        (Told("requests", 0, 120, None), [0.5, 1.0, 1.5]),
        # neither a limit nor a time: nothing to go by
        (Told("requests", 0, None, None), [0.0, 0.0, 0.0]),
    ],
)
def test_what_a_reply_tells_is_believed(told: Told, waits: list[float]) -> None:
    limits = room()
    limits.take(0, 1000.0)
    limits.told(told, 1000.0, asked_since=0)
    for wait in waits:
        assert limits.wait_s(0, 1000.0) == pytest.approx(wait, abs=1e-3)
        go(limits, 0, 1000.0)


def test_tokens_are_told_apart_from_requests() -> None:
    limits = room()
    limits.told(Told("tokens", 100, 6_000, 59.0), 1000.0, asked_since=0)
    assert limits.fits(100, 1000.0)
    assert limits.wait_s(200, 1000.0) == pytest.approx(1.0)
    assert [each.kind for each in limits.shortages(200, 1000.0)] == ["tokens"]
    assert limits.ratio("tokens", 1000.0) == pytest.approx(1 / 60, rel=0.01)
    assert limits.ratio("requests", 1000.0) == 1.0


def test_what_was_sent_after_the_call_that_is_answered_still_counts() -> None:
    limits = room()
    for _ in range(4):
        limits.take(0, 1000.0)
    limits.told(Told("requests", 10, 60, 50.0), 1000.0, asked_since=3)
    went = 0
    while limits.fits(0, 1000.0):
        limits.take(0, 1000.0)
        went += 1
    assert went == 7


def test_a_reply_raises_what_was_thought_too_low() -> None:
    limits = room()
    limits.told(Told("requests", 0, 60, 60.0), 1000.0, asked_since=0)
    assert not limits.fits(0, 1000.0)
    limits.told(Told("requests", 30, 60, 30.0), 1000.0, asked_since=0)
    assert limits.fits(0, 1000.0)


def test_the_time_until_a_reset_is_wanted_only_where_it_teaches() -> None:
    limits = room()
    assert limits.wants_reset("requests", 59, 60)
    limits.told(Told("requests", 59, 60, 1.0), 1000.0, asked_since=0)
    assert not limits.wants_reset("requests", 58, 60)
    assert limits.wants_reset("requests", 30, 60)
    assert limits.wants_reset("requests", 58, 120)
    assert limits.wants_reset("tokens", 58, 60)
    assert limits.wants_reset("requests", 58, None)


@pytest.mark.parametrize("remaining", [0, 5])
def test_a_limit_of_nothing_teaches_nothing(remaining: int) -> None:
    limits = room()
    limits.told(Told("requests", remaining, 0, 1.0), 1000.0, asked_since=0)
    assert limits.requests is None


def test_a_refusal_shuts_the_target_until_its_time_and_lets_calls_go_one_by_one() -> None:
    limits = room()
    limits.refused(5.0, 1000.0)
    assert limits.limited
    assert limits.ratio("requests", 1004.9) == 0.0
    assert [each.wait_s for each in limits.shortages(0, 1000.0)] == [5.0]
    for now, wait in ((1000.0, 5.0), (1004.0, 1.0), (1005.0, 0.0)):
        assert limits.wait_s(0, now) == pytest.approx(wait)
    for _ in range(3):
        assert limits.fits(0, 1005.0) is (_ == 0)
        go(limits, 0, 1005.0)
    assert limits.wait_s(0, 1005.0) == pytest.approx(0.3)
    assert limits.fits(0, 1005.0 + PACED_FOR_S), "at last it is as free as before"
    go(limits, 0, 1005.0 + PACED_FOR_S)
    assert limits.fits(0, 1005.0 + PACED_FOR_S)


def test_an_earlier_refusal_that_lasts_longer_stays() -> None:
    limits = room()
    limits.refused(30.0, 1000.0)
    limits.refused(1.0, 1001.0)
    assert limits.shut_until == 1030.0


def test_behind_a_refusal_calls_go_at_the_known_pace() -> None:
    limits = room(Rates(rpm=60))
    limits.refused(5.0, 1000.0)
    assert limits.fits(0, 1005.0)
    go(limits, 0, 1005.0)
    assert limits.wait_s(0, 1005.0) == pytest.approx(1.0)


def test_tokens_are_corrected_where_they_are_only_estimated() -> None:
    limits = room(Rates(tpm=1_000), Rates(tpm=2_000))
    limits.told(Told("tokens", 500, 1_000, 30.0), 1000.0, asked_since=0)
    limits.take(400, 1000.0)
    limits.correct(-300, 1000.0, 1000.0)
    assert limits.own.tokens is not None
    assert limits.provider.tokens is not None
    assert limits.tokens is not None
    levels = [bucket.level(1000.0) for bucket in (limits.own.tokens, limits.provider.tokens, limits.tokens)]
    assert levels == pytest.approx([900, 1_900, 100])


def test_a_process_believes_in_its_share_of_what_was_told() -> None:
    limits = room(share=0.5)
    limits.told(Told("requests", 10, 60, 50.0), 1000.0, asked_since=0)
    went = 0
    while limits.fits(0, 1000.0):
        limits.take(0, 1000.0)
        went += 1
    assert went == 5
    assert limits.shortages(0, 1000.0)[0].limit == 60


def test_it_may_be_forgotten_when_it_is_full_and_nobody_is_there() -> None:
    limits = room(Rates(rpm=60))
    assert limits.idle(1000.0)
    limits.take(0, 1000.0)
    assert not limits.idle(1100.0)
    limits.release()
    assert limits.idle(1100.0)
    limits.refused(5.0, 1100.0)
    assert not limits.idle(1101.0)
    assert "shut until 1105" in repr(limits)


RULES = TargetRules({"p/m": Rates(rpm=1), "p/*": Rates(rpm=2), "p/large-*": Rates(rpm=3)}, {"p": Rates(rpm=9)})


@pytest.mark.parametrize(("id", "rpm"), [("p/m", 1), ("p/other", 2), ("p/large-x", 3), ("q/m", None)])
def test_a_target_has_the_limits_of_its_own_name_or_of_the_nearest_wildcard(id: str, rpm: int | None) -> None:
    assert RULES.of_target(id).rpm == rpm
    assert RULES.any
    assert not TargetRules().any
