"""Buckets keep their promise in any window, and all limits of a call admit it together."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import rate_limit
from policies.rate_limit import Account, Bucket, Limiter, RateRules, Rates, shortages, standing, take
from tests.effort import examples

EPSILON = 1e-6


@pytest.mark.parametrize(
    ("taken", "asked", "wait"),
    [
        (0, 1, 0.0),
        (59, 1, 0.0),
        (60, 1, 1.0),
        (60, 30, 30.0),
        (60, 60, 60.0),
        (60, 10**6, 60.0),  # more than fits waits until it is full
        (0, 10**6, 0.0),  # ... and goes then
        (90, 1, 31.0),  # after a call that took more than there was
    ],
)
def test_a_bucket_says_when_it_fits(taken: int, asked: int, wait: float) -> None:
    bucket = Bucket(60)
    if taken:
        bucket.take(taken, 1000.0)
    assert bucket.wait_s(asked, 1000.0) == pytest.approx(wait)
    assert bucket.wait_s(asked, 1000.0 + wait) == 0.0, "who waited as long as told goes"
    if wait:
        assert bucket.wait_s(asked, 1000.0 + wait - 0.01) > 0.0


def test_the_level_falls_by_what_is_taken_and_rises_with_time() -> None:
    bucket = Bucket(60)
    bucket.take(40, 1000.0)
    assert bucket.level(1000.0) == pytest.approx(20)
    assert bucket.level(1010.0) == pytest.approx(30)
    assert bucket.level(2000.0) == 60
    bucket.take(100, 2000.0)
    assert bucket.level(2000.0) == pytest.approx(-40)


@examples(200)
@given(
    limit=st.integers(1, 200),
    asked=st.lists(st.tuples(st.floats(0, 20), st.integers(1, 50)), min_size=1, max_size=60),
    window=st.floats(0.1, 200),
)
def test_no_window_sees_more_than_the_limit_and_its_burst(
    limit: int, asked: list[tuple[float, int]], window: float
) -> None:
    bucket, now, admitted = Bucket(limit), 1000.0, list[tuple[float, int]]()
    for pause, amount in asked:
        now += pause
        amount = min(amount, limit)
        if bucket.wait_s(amount, now) == 0.0:
            bucket.take(amount, now)
            admitted.append((now, amount))
    for begin, _ in admitted:
        total = sum(amount for at, amount in admitted if begin <= at <= begin + window)
        assert total <= limit + limit * window / 60 + EPSILON * limit + EPSILON


@examples(200)
@given(
    limit=st.integers(10, 200),
    asked=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50), st.floats(0, 100)), min_size=1, max_size=40),
)
def test_corrections_never_make_more_room_than_was_taken(limit: int, asked: list[tuple[float, int, float]]) -> None:
    """Against a model: every call takes its estimate and gives all of it back later."""
    bucket, now = Bucket(limit), 1000.0
    running: list[tuple[float, int, float]] = []  # (ends at, amount, taken at)
    for pause, amount, lasts in asked:
        now += pause
        for end in sorted(entry for entry in running if entry[0] <= now):
            before = bucket.level(end[0])
            bucket.correct(-end[1], end[2], end[0])
            assert bucket.level(end[0]) <= min(limit, before + end[1]) + EPSILON * limit
            running.remove(end)
        amount = min(amount, limit)
        if bucket.wait_s(amount, now) == 0.0:
            bucket.take(amount, now)
            running.append((now + lasts, amount, now))
        assert bucket.level(now) <= limit


def test_what_has_spilled_is_not_given_back() -> None:
    bucket = Bucket(60)
    bucket.take(60, 1000.0)  # a long call, estimated far too high
    bucket.take(60, 1100.0)  # the bucket was full again in between
    bucket.correct(-60, 1000.0, 1101.0)
    assert bucket.level(1101.0) == pytest.approx(1.0)
    bucket.correct(-60, 1100.0, 1101.0)
    assert bucket.level(1101.0) == 60


def test_a_call_that_used_more_than_estimated_is_debited_for_it() -> None:
    account = Account("a", Rates(tpm=600), 1.0)
    assert take((account,), 100, 1000.0)
    rate_limit.correct((account,), 300, 1000.0, now=1001.0)
    assert account.tokens is not None
    assert account.tokens.level(1001.0) == pytest.approx(600 - 400 + 10)


limits = st.none() | st.integers(1, 50)
some_rates = st.builds(Rates, rpm=limits, tpm=limits, concurrency=st.none() | st.integers(1, 5))


def pictured(accounts: tuple[Account, ...]) -> list[object]:
    return [
        (account.running, *[None if b is None else b.full_at for b in (account.requests, account.tokens)])
        for account in accounts
    ]


@examples(200)
@given(
    rates=st.lists(some_rates, min_size=1, max_size=3),
    asked=st.lists(st.tuples(st.floats(0, 10), st.integers(0, 80), st.booleans()), min_size=1, max_size=30),
)
def test_all_of_a_calls_limits_are_debited_or_none(rates: list[Rates], asked: list[tuple[float, int, bool]]) -> None:
    accounts = tuple(Account(str(number), each, 1.0) for number, each in enumerate(rates))
    now, running = 1000.0, 0
    for pause, tokens, ends in asked:
        now += pause
        before = pictured(accounts)
        in_the_way = shortages(accounts, tokens, now)
        if take(accounts, tokens, now):
            assert in_the_way == ()
            running += 1
            for account in accounts:
                assert account.running == running <= account.concurrency
        else:
            assert in_the_way
            assert pictured(accounts) == before, "a refusal debits nothing"
            longest = in_the_way[0].wait_s
            assert longest == max(shortage.wait_s for shortage in in_the_way) > 0
            if all(shortage.kind != "concurrency" for shortage in in_the_way):
                assert all(account.fits(tokens, now + longest) for account in accounts)
        if ends and running:
            running -= 1
            for account in accounts:
                account.running -= 1


def test_a_shortage_says_which_limit_and_how_much_of_it() -> None:
    account = Account("key:k", Rates(rpm=60, tpm=1_000, concurrency=1), 1.0)
    assert take((account,), 900, 1000.0)
    found = shortages((account,), 200, 1000.0)
    assert [(each.kind, each.limit, each.remaining, each.needed) for each in found] == [
        ("tokens", 1_000, 100, 200),
        ("concurrency", 1, 0, 1),
    ]
    assert found[0].wait_s == pytest.approx(6.0)


def test_the_tightest_limit_is_shown() -> None:
    key, agent = Account("key:k", Rates(rpm=100), 1.0), Account("agent:a", Rates(rpm=10, tpm=50), 1.0)
    for _ in range(3):
        assert take((key, agent), 5, 1000.0)
    limit, remaining, reset_s = standing((key, agent), "requests", 1000.0) or (0, 0, 0.0)
    assert (limit, remaining, round(reset_s, 6)) == (10, 7, 18.0)
    assert standing((key,), "tokens", 1000.0) is None
    assert (standing((agent,), "tokens", 1000.0) or ())[:2] == (50, 35)


@pytest.mark.parametrize(("share", "fit"), [(1.0, 12), (0.5, 6), (0.25, 3)])
def test_a_process_takes_its_share_and_shows_the_whole(share: float, fit: int) -> None:
    account = Account("key:k", Rates(rpm=12, concurrency=12), share)
    assert account.concurrency == fit
    admitted = 0
    while take((account,), 0, 1000.0):
        admitted += 1
        account.running = 0
    assert admitted == fit
    assert (standing((account,), "requests", 1000.0) or ())[:2] == (12, 0)


def test_a_share_below_one_call_still_lets_calls_through() -> None:
    account = Account("key:k", Rates(rpm=1, concurrency=1), 0.25)
    assert (account.concurrency, account.fits(0, 1000.0)) == (1, True)
    account.take(0, 1000.0)
    account.running = 0
    assert not account.fits(0, 1239.0)
    assert account.fits(0, 1240.0)


def test_another_limit_keeps_what_was_taken() -> None:
    account = Account("key:k", Rates(rpm=60), 1.0)
    for _ in range(30):
        take((account,), 0, 1000.0)
    account.change(Rates(rpm=120, tpm=10), 1000.0)
    assert (standing((account,), "requests", 1000.0) or ())[:2] == (120, 90)
    account.change(Rates(), 1000.0)
    assert (account.requests, account.tokens, account.concurrency) == (None, None, inf)


# --- who is limited ----------------------------------------------------------------------------------------------

RULES = RateRules(keys={"k": Rates(rpm=5)}, agents={"a": Rates(rpm=3), "free": None}, each_agent=Rates(rpm=2))


@pytest.mark.parametrize(
    ("key", "agent", "names"),
    [
        ("k", "a", ["key:k", "agent:a"]),
        ("k", "free", ["key:k"]),
        ("other", "a", ["agent:a"]),
        ("other", "stranger", ["agent:stranger"]),
        ("other", "free", []),
    ],
)
def test_a_call_meets_the_limits_of_its_key_and_agent(key: str, agent: str, names: list[str]) -> None:
    limiter = Limiter(RULES)
    for _ in range(2):
        assert [account.name for account in limiter.accounts(key, agent, 1000.0)] == names


def test_rules_without_any_limit_are_known_as_such() -> None:
    assert RULES.any
    assert not RateRules(agents={"free": None}).any


def test_names_that_clients_invent_take_bounded_room_and_nobody_running_is_forgotten_first() -> None:
    limiter = Limiter(RULES, accounts_max=4)
    (busy,) = limiter.accounts("", "busy", 1000.0)
    busy.take(0, 1000.0)
    for number in range(100):
        limiter.accounts("", f"agent-{number}", 1000.0)
        assert len(limiter) <= 4
    assert limiter.accounts("", "busy", 1000.0) == (busy,)
    assert limiter.dropped == 0
    for number in range(4):
        limiter.accounts("", f"spent-{number}", 1000.0)[0].take(0, 1000.0)
    limiter.accounts("", "one-more", 1000.0)
    assert limiter.dropped > 0
    assert len(limiter) == 4


def test_new_rules_hold_for_accounts_that_exist() -> None:
    limiter = Limiter(RULES)
    key, agent = limiter.accounts("k", "a", 1000.0)
    limiter.replace(RateRules(keys={"k": Rates(rpm=50)}), 1000.0)
    assert key.rates == Rates(rpm=50)
    assert agent.rates == Rates()
    assert "key:k" in repr(key)
    assert "1 keys" in repr(limiter)
    assert "in 60 s" in repr(Bucket(5))
