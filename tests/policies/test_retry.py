"""The rules of a second try, and the one budget that all of them draw from."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.retry import BACKOFF_CAP_S, BURST, AttemptBudget, Retry
from proxy.errors import CODES, ProxyError


@pytest.mark.parametrize(
    ("number", "code", "again"),
    [
        (1, "upstream_unreachable", True),
        (2, "upstream_error", True),
        (3, "upstream_error", False),  # the third was the last
        (1, "upstream_rejected", False),  # another target would refuse it too
        (1, "deadline_exceeded", False),
        (1, "invalid_api_key", False),
    ],
)
def test_only_errors_that_another_attempt_can_mend_are_tried_again(number: int, code: str, again: bool) -> None:
    delay = Retry(attempts=3).delay_s(number, ProxyError(code, ""), Random(1))
    assert (delay is not None) is again


def test_no_client_or_policy_error_is_ever_retried() -> None:
    for code, rule in CODES.items():
        if rule.source in ("client", "policy"):
            assert Retry(attempts=9).delay_s(1, ProxyError(code, ""), Random(1)) is None, code


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_the_backoff_is_bounded_and_never_negative(number: int, seed: int) -> None:
    delay = Retry(attempts=99).delay_s(number, ProxyError("upstream_error", ""), Random(seed))
    assert delay is not None
    assert 0 <= delay <= BACKOFF_CAP_S


def test_an_upstreams_hint_is_waited_for() -> None:
    error = ProxyError("upstream_overloaded", "", retry_after_s=20.0)
    assert Retry().delay_s(1, error, Random(1)) == 20.0


def test_the_budget_is_a_tenth_of_the_successes_once_the_burst_is_spent() -> None:
    budget = AttemptBudget(0.1)
    while budget.withdraw(0.0):
        pass
    for _ in range(100):
        budget.deposit(0.0)
    taken = 0
    while budget.withdraw(0.0):
        taken += 1
    assert taken == 10 == BURST


def test_a_quiet_gate_may_retry_again_after_a_while() -> None:
    budget = AttemptBudget(0.1)
    while budget.withdraw(0.0):
        pass
    assert not budget.withdraw(9.0)
    assert budget.withdraw(10.5)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=200))
def test_withdrawals_never_exceed_burst_plus_deposits_plus_trickle(steps: list[tuple[bool, float]]) -> None:
    budget, now, taken, put = AttemptBudget(0.1), 0.0, 0, 0
    for is_deposit, pause in steps:
        now += pause
        if is_deposit:
            budget.deposit(now)
            put += 1
        else:
            taken += budget.withdraw(now)
    assert taken <= BURST + 0.1 * put + 0.1 * now + 1e-6
    assert 0 <= budget.remaining_ratio(now) <= 1
