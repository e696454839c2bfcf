from __future__ import annotations

import pytest

from proxy.errors import ProxyError
from proxy.surfaces.query import instant_ms, limit, number, one_of, parameters, status

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("30m", NOW - 1_800_000),
        ("6h", NOW - 21_600_000),
        ("1d", NOW - 86_400_000),
        ("2w", NOW - 2 * 604_800_000),
        ("45s", NOW - 45_000),
        ("2026-01-31", 1_769_817_600_000),
        ("2024-02-29", 1_709_164_800_000),
        ("2026-01-31T12:00", 1_769_860_800_000),
        ("2026-01-31 12:00:05", 1_769_860_805_000),
        ("2026-01-31T12:00:05.250Z", 1_769_860_805_000),
        ("2026-01-31T12:00+01:00", 1_769_857_200_000),
        ("2026-01-31T12:00-0530", 1_769_880_600_000),
        ("1970-01-01", 0),
    ],
)
def test_an_instant_is_a_length_ago_or_an_iso_date(text: str, at: int) -> None:
    assert instant_ms({"since": text}, "since", NOW) == at


@pytest.mark.parametrize(
    "text",
    ["", "1", "d", "1y", "-1d", "1 d", "2026-13-01", "2026-02-29", "2026-01-31T", "2026-01-31T25:00", 
     "2026-01-31T12:60", "2026-01-31x12:00", "2026-1-1", "٣d", "now", "2026-01-31T12:00:61", "9999-12-31"],
)  # fmt: skip
def test_what_is_no_instant_is_refused_by_name(text: str) -> None:
    with pytest.raises(ProxyError) as refusal:
        instant_ms({"since": text}, "since", NOW)
    assert (refusal.value.status, refusal.value.param) == (400, "since")


def test_what_is_not_given_is_none() -> None:
    assert instant_ms({}, "since", NOW) is None
    assert number({}, "before") is None
    assert limit({}) == 100


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "", "9" * 19, "9" * 30, "²"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ProxyError, match="before must be a whole number"):
        number({"before": text}, "before")


@pytest.mark.parametrize("text", ["0", "501"])
def test_a_page_has_a_bounded_size(text: str) -> None:
    with pytest.raises(ProxyError, match="between 1 and 500"):
        limit({"limit": text})


@pytest.mark.parametrize("text", ["abc", "99", "600"])
def test_a_status_is_one_that_replies_have(text: str) -> None:
    status({})
    status({"status": "599"})
    with pytest.raises(ProxyError, match="status must be from 100 to 599"):
        status({"status": text})


def test_one_of_a_few_words_is_refused_with_all_of_them() -> None:
    one_of({}, "by", ("a", "b"))
    one_of({"by": "b"}, "by", ("a", "b"))
    with pytest.raises(ProxyError, match="by must be one of a, b"):
        one_of({"by": ""}, "by", ("a", "b"))


def test_unknown_and_repeated_parameters_are_named() -> None:
    with pytest.raises(ProxyError, match="unknown parameter agnet: this path takes by"):
        parameters("by=agent&agnet=1", ("by",))
    with pytest.raises(ProxyError, match="by is given twice"):
        parameters("by=agent&by=run", ("by",))
    assert parameters("by=agent&agnet=1", None) == {"by": "agent", "agnet": "1"}


@pytest.mark.parametrize(
    ("query", "given"),
    [
        ("", {}),
        ("agent=", {"agent": ""}),
        ("agent=a+b%2Fc%26d", {"agent": "a b/c&d"}),
        ("agent=%C3%BC", {"agent": "ü"}),
        ("agent=%ff", {"agent": "\ufffd"}),
        ("agent=a;run=b", {"agent": "a;run=b"}),
    ],
)
def test_values_are_decoded_and_only_an_ampersand_divides(query: str, given: dict[str, str]) -> None:
    assert parameters(query, None) == given
