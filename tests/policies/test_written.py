"""Limits in one word: what they mean, what is refused, and that they read back as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.limits import Limit
from policies.written import limit_of, text_of

READ = [
    ("5/day", Limit("usd", 5_000_000_000, "day"), "5.00/day"),
    ("0.5/run", Limit("usd", 500_000_000, "run"), "0.50/run"),
    ("100", Limit("usd", 100_000_000_000), "100.00"),
    ("0.0000000019", Limit("usd", 1), "0.000000001"),
    ("400000tokens/minute", Limit("tokens", 400_000, "minute"), "400000tokens/minute"),
    ("8concurrency", Limit("concurrency", 8), "8concurrency"),
    ("50steps/run", Limit("steps", 50, "run"), "50steps/run"),
    ("20usd/month,Europe/Berlin", Limit("usd", 20 * 10**9, "month", "Europe/Berlin"), "20.00/month,Europe/Berlin"),
    ("20/day,strict,soft", Limit("usd", 20 * 10**9, "day", hold="strict", soft=True), "20.00/day,strict,soft"),
]


@pytest.mark.parametrize(("text", "limit", "canonical"), READ)
def test_a_word_is_a_limit_and_has_one_canonical_form(text: str, limit: Limit, canonical: str) -> None:
    assert limit_of(text) == limit
    assert text_of(limit) == canonical
    assert limit_of(canonical) == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "AMOUNT"),
        ("-5/day", "AMOUNT"),
        ("5 / day", "AMOUNT"),
        ("5/fortnight", "window of a budget is minute, hour"),
        ("5eur/day", "unit of a budget is usd, tokens"),
        ("0.5tokens", "no fraction"),
        ("5/day,Atlantis/Poseidonis", "is not a time zone"),
        ("5/day,UTC,Europe/Berlin", "one time zone"),
        ("5concurrency/day", "no window"),
        ("5tokens,soft", "Only limits in usd"),
    ],
)
def test_what_is_no_limit_is_refused_with_what_would_be(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        limit_of(text)


@given(st.integers(0, 10**18), st.sampled_from(["usd", "tokens", "requests", "steps"]))
def test_every_limit_reads_back_as_it_was(amount: int, unit: str) -> None:
    limit = Limit(unit, amount, "week")  # type: ignore[arg-type]  # one of the units
    assert amount > 10**15 or limit_of(text_of(limit)) == limit
