from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy.providers.hints import HINT_S_MAX, retry_after_s

NOW = 1_795_352_400.0  # Sun, 22 Nov 2026 13:00:00 GMT
DELAY = b'[{"error": {"details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "34.5s"}]}}]'

HEADERS: list[tuple[str, dict[str, str], float | None]] = [
    ("none", {}, None),
    ("seconds", {"retry-after": "7"}, 7),
    ("float", {"retry-after": " 1.25 "}, 1.25),
    ("zero", {"retry-after": "0"}, 0),
    ("date ahead", {"retry-after": "Sun, 22 Nov 2026 13:00:30 GMT"}, 30),
    ("date past", {"retry-after": "Sun, 22 Nov 2026 12:00:00 GMT"}, 0),
    ("old date form", {"retry-after": "Sunday, 22-Nov-26 13:00:30 GMT"}, 30),
    ("asctime", {"retry-after": "Sun Nov 22 13:00:30 2026"}, 30),
    (
        "upstream's clock is an hour behind",
        {"date": "Sun, 22 Nov 2026 12:00:00 GMT", "retry-after": "Sun, 22 Nov 2026 12:00:20 GMT"},
        20,
    ),
    ("milliseconds", {"retry-after-ms": "250"}, 0.25),
    ("milliseconds before seconds", {"retry-after-ms": "1500", "retry-after": "60"}, 1.5),
    ("milliseconds that make no sense", {"retry-after-ms": "soon", "retry-after": "60"}, 60),
    ("minutes and seconds", {"retry-after": "1m30s"}, 90),
    ("milliseconds in words", {"retry-after": "20ms"}, 0.02),
    ("more minutes than are borne", {"retry-after": "6m0s"}, HINT_S_MAX),
    (
        "upstream's clock is an hour ahead",
        {"date": "Sun, 22 Nov 2026 14:00:00 GMT", "retry-after": "Sun, 22 Nov 2026 14:00:20 GMT"},
        20,
    ),
    ("a date without sense", {"retry-after": "Sun, 99 Foo 2026 14:00:20 GMT"}, None),
    ("two that disagree: milliseconds are newer", {"retry-after": "1", "retry-after-ms": "90000"}, 90),
    ("negative", {"retry-after": "-3"}, 0),
    ("not a number", {"retry-after": "NaN"}, None),
    ("infinite", {"retry-after": "inf"}, None),
    ("huge", {"retry-after": "1000000000"}, HINT_S_MAX),
    ("beyond every float", {"retry-after": "9" * 20 + "e99"}, HINT_S_MAX),
    ("epoch seconds", {"retry-after": "1795352412"}, 12),
    ("epoch milliseconds", {"retry-after": "1795352412500"}, 12.5),
    ("instant", {"retry-after": "2026-11-22T13:00:09Z"}, 9),
    ("instant elsewhere", {"retry-after": "2026-11-22T14:00:09.5+01:00"}, 9.5),
    ("no such instant", {"retry-after": "2026-13-22T14:00:09Z"}, None),
    ("empty", {"retry-after": ""}, None),
    ("reset of a vendor", {"x-ratelimit-reset-requests": "1m0s"}, 60),
    ("reset as instant", {"anthropic-ratelimit-requests-reset": "2026-11-22T13:00:40Z"}, 40),
    ("reset in epoch milliseconds", {"x-ratelimit-reset": "1795352415000"}, 15),
    (
        "the limit that is used up",
        {
            "X-RateLimit-Reset-Requests": "20ms",
            "X-RateLimit-Remaining-Requests": "9",
            "X-RateLimit-Reset-Tokens": "33s",
            "X-RateLimit-Remaining-Tokens": "0",
        },
        33,
    ),
    ("two limits, neither used up", {"x-ratelimit-reset-requests": "20s", "x-ratelimit-reset-tokens": "33s"}, 20),
    ("retry-after before resets", {"retry-after": "2", "x-ratelimit-reset-tokens": "33s"}, 2),
    ("IETF", {"ratelimit": '"burst";r=0;t=17, "day";r=5;t=900'}, 17),
    ("older IETF draft", {"ratelimit": "limit=10, remaining=0, reset=18"}, 18),
    ("oldest IETF draft", {"ratelimit-reset": "19"}, 19),
]


@pytest.mark.parametrize(("headers", "expected"), [row[1:] for row in HEADERS], ids=[row[0] for row in HEADERS])
def test_each_form_of_header_gives_its_seconds(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(CIMultiDict(headers), b"", NOW) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (DELAY, {}, 34.5),
        (DELAY, {"retry-after": "2"}, 2),
        (DELAY, {"x-ratelimit-reset": "3"}, 34.5),
        (b'{"error":{"message":"Rate limit reached. Please try again in 6m0s. Visit"}}', {}, HINT_S_MAX),
        (b'{"error":{"message":"Please try again in 1.898s."}}', {}, 1.898),
        (b'{"error":{"message":"Please try again in 20ms."}}', {"x-ratelimit-reset": "3"}, 3),
        (b'{"error":{"message":"Please try again in a while."}}', {}, None),
        (b" " * 20_000 + DELAY, {}, None),
    ],
)
def test_the_body_speaks_where_no_header_has_the_better_word(
    body: bytes, headers: dict[str, str], expected: float | None
) -> None:
    assert retry_after_s(CIMultiDict(headers), body, NOW) == pytest.approx(expected)


names = st.sampled_from(
    ["retry-after", "retry-after-ms", "date", "ratelimit", "ratelimit-reset", "x-ratelimit-reset-tokens"]
)
pieces = st.sampled_from(
    ["9", "0", "-", ".", "e", "s", "m", "ms", "h", "T", "Z", ":", "+", " ", "Nov", "GMT", ";t=", ","]
)
values = st.text(max_size=60) | st.lists(pieces, max_size=20).map("".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(names, values), st.binary(max_size=80) | st.just(DELAY), st.floats(0, 1e10))
@example({"retry-after": "0000-00-00T00:00:00Z"}, b"", 0.0)
@example({"date": "Mon, 99 Jan 99999 99:99:99 +9999"}, b"", 0.0)
def test_whatever_is_sent_the_hint_is_a_bearable_number_or_nothing(
    headers: dict[str, str], body: bytes, now: float
) -> None:
    hint = retry_after_s(CIMultiDict(headers), body, now)
    assert hint is None or 0 <= hint <= HINT_S_MAX
