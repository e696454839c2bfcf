from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.telemetry.usual import usual_attempt
from proxy.types import Attempt, Outcome, Usage
from tests.effort import examples
from tests.proxy.telemetry.samples import ATTEMPT, DEEP, FAST, OUTCOME, PLAIN_CALL, WILD, Found, metrics, scrape

PLAIN = replace(OUTCOME, call=PLAIN_CALL, gaps=None, last_event_s=None)


def with_attempt(outcome: Outcome, attempt: Attempt) -> Outcome:
    return replace(outcome, attempts=(attempt,))


@pytest.mark.parametrize(
    "change",
    [
        lambda o: replace(o, call=OUTCOME.call),
        lambda o: replace(o, call=replace(PLAIN_CALL, client_retry=1)),
        lambda o: replace(o, status=206),
        lambda o: replace(o, error_code="internal", error_source="proxy"),
        lambda o: replace(o, client_gone=True),
        lambda o: replace(o, attempts=()),
        lambda o: replace(o, attempts=(ATTEMPT, ATTEMPT)),
        lambda o: with_attempt(o, replace(ATTEMPT, role="retry")),
        lambda o: with_attempt(o, replace(ATTEMPT, lesson="ignore")),
        lambda o: with_attempt(o, replace(ATTEMPT, error_code="upstream_error")),
        lambda o: with_attempt(o, replace(ATTEMPT, cost_usd_nanos=None)),
    ],
)
def test_whatever_is_out_of_the_way_is_not_usual(change: Callable[[Outcome], Outcome]) -> None:
    assert usual_attempt(PLAIN) is ATTEMPT
    assert usual_attempt(change(PLAIN)) is None


def moving(found: Found) -> Found:
    """Without what tells of this process."""
    return {key: value for key, value in found.items() if not key[0].startswith(("process_", "python_"))}


ATTEMPTS = st.builds(
    replace,
    st.just(ATTEMPT),
    target=st.sampled_from((FAST, DEEP, replace(WILD, id="p3/anything", model="anything"))),
    duration_s=st.floats(0.0, 100.0),
    cost_usd_nanos=st.none() | st.integers(0, 10**9),
    usage=st.sampled_from((None, ATTEMPT.usage, Usage(output=3, source="estimated", flags=("clamped",)))),
)


@examples(15)  # each writes and parses two whole expositions
@given(st.lists(ATTEMPTS, max_size=4), st.sampled_from(("smart", "unknown")), st.sampled_from(("chat", "speech")))
def test_the_usual_way_counts_what_the_long_one_counts(tried: list[Attempt], route: str, endpoint: str) -> None:
    call = replace(PLAIN_CALL, route=route, endpoint=endpoint)
    short, long = metrics(), metrics()
    for attempt in tried:
        outcome = with_attempt(replace(PLAIN, call=call), attempt)
        short.observe(outcome)
        long._observe_any(outcome)
    assert moving(scrape(short)) == moving(scrape(long))
