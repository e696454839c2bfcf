"""What several processes know of a target, as one answer."""

from __future__ import annotations

from msgspec.structs import replace

from proxy.state.target_report import Standing, merged

WELL = Standing(
    target="up/m",
    state="closed",
    why="",
    retry_s=None,
    last_failure=None,
    calls=30,
    bad_share=0.0,
    rejected=0,
    in_flight=2,
    concurrency=8.0,
    first_token_s=0.2,
    reply_s=None,
    prompt_tokens_a_second=4_000.0,
)
OUT = replace(
    WELL,
    state="open",
    why="too many failures in a row",
    retry_s=4.0,
    last_failure="upstream_error",
    calls=10,
    bad_share=0.8,
    rejected=5,
    in_flight=0,
    first_token_s=0.4,
    prompt_tokens_a_second=None,
    out_of=(1, 1),
)


def test_one_process_is_shown_as_it_is() -> None:
    assert merged([WELL]) == [WELL]
    assert merged([]) == []


def test_the_worst_breaker_is_shown_and_counts_add_up() -> None:
    (shown,) = merged([WELL, OUT, replace(WELL, state="half_open", why="it is being tried again")])
    assert (shown.state, shown.why, shown.retry_s) == ("open", "too many failures in a row", 4.0)
    assert shown.last_failure == "upstream_error"
    assert (shown.calls, shown.bad_share, shown.rejected) == (70, 8 / 70, 5)
    assert (shown.in_flight, shown.concurrency) == (4, 24.0)
    assert shown.out_of == (1, 3)


def test_of_two_that_are_out_the_longer_wait_is_shown() -> None:
    (shown,) = merged([OUT, replace(OUT, retry_s=60.0, why="its trial failed")])
    assert (shown.why, shown.retry_s) == ("its trial failed", 60.0)


def test_a_failure_is_remembered_though_the_worst_breaker_knows_none() -> None:
    tried = replace(WELL, state="half_open", last_failure=None)
    assert merged([tried, replace(WELL, last_failure="upstream_broken")])[0].last_failure == "upstream_broken"


def test_speeds_are_the_mean_of_those_who_know_and_a_limit_is_one_where_all_have_it() -> None:
    (shown,) = merged([WELL, OUT, replace(WELL, concurrency=None, first_token_s=None)])
    assert (shown.first_token_s, shown.reply_s) == (0.30000000000000004, None)
    assert shown.prompt_tokens_a_second == 4_000.0
    assert shown.concurrency is None


def test_targets_are_told_apart() -> None:
    other = replace(WELL, target="up/n")
    assert [each.target for each in merged([other, WELL, other])] == ["up/n", "up/m"]
