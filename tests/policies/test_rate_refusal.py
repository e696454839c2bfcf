"""A refusal says which limit, in figures, and when to come again."""

from __future__ import annotations

from policies.rate_limit import Shortage
from policies.rate_refusal import rate_limited


def test_a_refusal_names_the_longest_wait_first() -> None:
    error = rate_limited(
        (
            Shortage("agent:planner", "tokens", 1_000, 100, 200, 6.0004),
            Shortage("key:k1", "concurrency", 8, 0, 1, 1.0),
        )
    )
    assert (error.code, error.status, error.retry_after_s, error.client_may_retry) == (
        "rate_limit_exceeded",
        429,
        6.0004,
        True,
    )
    assert error.message == (
        "The limit of agent 'planner' (and 1 more) refuses this call: 1000 tokens a minute, 100 left, 200 needed. "
        "Ask again in 6 s."
    )
    assert error.details["limits"] == [
        {
            "account": "agent:planner",
            "unit": "tokens",
            "window": "minute",
            "limit": 1_000,
            "remaining": 100,
            "needed": 200,
            "retry_after_s": 6.0,
        },
        {
            "account": "key:k1",
            "unit": "concurrency",
            "window": None,
            "limit": 8,
            "remaining": 0,
            "needed": 1,
            "retry_after_s": 1.0,
        },
    ]


def test_names_of_clients_are_made_harmless() -> None:
    error = rate_limited((Shortage("agent:" + "ü\n" * 200, "requests", 5, 0, 1, 1.5),))
    assert error.message.isascii()
    assert error.message.isprintable()
    assert len(error.message) < 250
