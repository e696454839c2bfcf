"""What vendors say of their limits, in the names and forms that they use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.limit_headers import FORMS, PREFIXES, Said, said

OPENAI = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-limit-tokens": "160000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-remaining-tokens": "159976",
    "x-ratelimit-reset-requests": "12ms",
    "x-ratelimit-reset-tokens": "6m0s",
}


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (OPENAI, [Said("requests", 4999, 5000, "12ms"), Said("tokens", 159976, 160000, "6m0s")]),
        (  # Azure without limits
            {"x-ratelimit-remaining-requests": "9", "x-ratelimit-remaining-tokens": "7985"},
            [Said("requests", 9, None, ""), Said("tokens", 7985, None, "")],
        ),
        (  # Mistral
            {
                "x-ratelimit-limit-tokens-minute": "5000000",
                "x-ratelimit-remaining-tokens-minute": "4999911",
                "x-ratelimit-tokens-query-cost": "52",
                "x-ratelimit-limit-req-minute": "720",
                "x-ratelimit-remaining-req-minute": "717",
            },
            [Said("requests", 717, 720, ""), Said("tokens", 4999911, 5000000, "")],
        ),
        (  # Together
            {
                "x-ratelimit-limit": "10",
                "x-ratelimit-remaining": "9",
                "x-ratelimit-reset": "1",
                "x-tokenlimit-limit": "3000",
                "x-tokenlimit-remaining": "2985",
            },
            [Said("requests", 9, 10, "1"), Said("tokens", 2985, 3000, "")],
        ),
        (  # Anthropic: of several limits in tokens the tightest counts
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2026-11-22T16:00:00Z",
                "anthropic-ratelimit-input-tokens-limit": "40000",
                "anthropic-ratelimit-input-tokens-remaining": "39000",
                "anthropic-ratelimit-output-tokens-limit": "8000",
                "anthropic-ratelimit-output-tokens-remaining": "1000",
            },
            [Said("requests", 49, 50, "2026-11-22T16:00:00Z"), Said("tokens", 1000, 8000, "")],
        ),
        ({"x-ratelimit-remaining-requests": " 7.0 "}, [Said("requests", 7, None, "")]),
        ({"x-ratelimit-remaining-requests": "-3"}, [Said("requests", 0, None, "")]),
        ({}, []),
        ({"content-type": "application/json"}, []),
        ({"x-ratelimit-remaining-requests": "many", "x-ratelimit-limit-requests": "5"}, []),
        ({"x-ratelimit-remaining-requests": "9" * 40}, []),
        ({"x-ratelimit-remaining-requests": "\u00b2"}, []),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-limit-requests": "x"}, [Said("requests", 5, None, "")]),
    ],
)
def test_each_vendors_words_are_understood(headers: dict[str, str], found: list[Said]) -> None:
    assert said(headers) == found


def test_every_name_is_among_those_that_are_kept() -> None:
    names = [name for _, *names in FORMS for name in names if name]
    assert all(name.startswith(PREFIXES) for name in names)


@given(st.dictionaries(st.sampled_from([name for _, *names in FORMS for name in names if name]), st.text(max_size=20)))
def test_nothing_that_an_upstream_says_can_fail(headers: dict[str, str]) -> None:
    for each in said(headers):
        assert each.remaining >= 0
