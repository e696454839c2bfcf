"""What a refused client is told."""

from __future__ import annotations

from policies.limits import Limit, Refusal, Shortfall
from policies.refusal import amount, budget_exceeded, limits_in_words
from proxy.dialects.openai_chat import OpenAI
from proxy.errors import ProxyError
from proxy.types import Amounts, Period
from tests.policies.rulebook import DAY, START, accounts, at, reserve, usd


def refused(limit: Limit, spent: int, needed: int) -> Refusal:
    found = accounts({"key": (limit,)})
    reserve(found, "first", usd(spent))
    found.post("first", Amounts(usd_nanos=spent))
    answer = reserve(found, "second", usd(needed), at(3_600))
    assert isinstance(answer, Refusal)
    return answer


def test_a_window_that_resets_says_when() -> None:
    error = budget_exceeded(refused(Limit("usd", 10_000_000_000, "day"), 9_000_000_000, 2_500_000_000))
    assert (error.code, error.status, error.retry_after_s) == ("budget_exceeded", 429, DAY - 3_600)
    assert error.details["limits"] == [
        {
            "account": "key:k",
            "carrier": "key:k",
            "unit": "usd",
            "window": "day",
            "limit": "10.00",
            "spent": "9.00",
            "held": "0.00",
            "needed": "2.50",
            "resets_at": "2024-10-05T00:00:00Z",
            "reason": "spent",
        }
    ]
    assert int(START) == 1_728_000_000


def test_a_total_that_never_resets_is_a_402() -> None:
    error = budget_exceeded(refused(Limit("usd", 100), 90, 50))
    assert (error.status, error.retry_after_s) == (402, None)
    assert not error.client_may_retry
    assert "key 'k' in USD refuses this call: what is left of it does not pay this call" in error.message


def test_in_words_it_names_account_figures_and_end_of_the_window() -> None:
    error = budget_exceeded(refused(Limit("usd", 10_000_000_000, "day"), 9_000_000_000, 2_500_000_000))
    assert limits_in_words(error) == [
        "refused by the budget of key:k in usd per day: what is left of it does not pay this call; "
        "limit 10.00, spent 9.00, held 0.00, needed 2.50; its window ends at 2024-10-05T00:00:00Z"
    ]
    (total,) = limits_in_words(budget_exceeded(refused(Limit("usd", 100), 90, 50)))
    assert "in usd: what is left of it does not pay this call; limit 0.0000001, " in total
    assert total.endswith("its window never ends by itself")


def test_in_words_it_names_whose_limit_it_is_where_that_is_another_account() -> None:
    period = Period("run:t-1", "usd", "run", 0, "agent:tiny")
    shortfall = Shortfall(period, limit=10, spent=0, held=0, needed=20, reason="floor", resets_wall=None)
    (said,) = limits_in_words(budget_exceeded(Refusal((shortfall,), wall=0.0)))
    assert said == (
        "refused by the budget of run:t-1 in usd per run, a limit of agent:tiny: this call alone needs more than all "
        "of it; limit 0.00000001, spent 0.00, held 0.00, needed 0.00000002; its window never ends by itself"
    )


def test_of_another_error_nothing_is_said() -> None:
    assert limits_in_words(ProxyError("rate_limit_exceeded", "", details={"limits": [{"limit": 3}]})) == []


def test_the_details_stand_in_the_body_of_the_clients_dialect() -> None:
    status, body = OpenAI().error(budget_exceeded(refused(Limit("usd", 100), 90, 50)))
    assert status == 402
    assert b'"code":"budget_exceeded"' in body
    assert b'"limits":[{"account":"key:k"' in body


def test_money_is_exact_decimal_text_and_counts_are_counts() -> None:
    assert [amount("usd", value) for value in (0, 1, 1_500_000_000, -20_000_000)] == [
        "0.00",
        "0.000000001",
        "1.50",
        "-0.02",
    ]
    assert amount("tokens", 7) == 7
