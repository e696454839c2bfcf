"""An answer may become as long as the money pays, and not a token longer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from policies.clamp import FLOOR_TOKENS, Clamp, Unpayable, Wish, output_limit
from pricing.book import hold_usd_nanos
from proxy.types import Price

PRICE = Price(
    id="p",
    input_uncached=1_000,
    output=10_000,
    input_cached=100,
    input_cache_write_5m=2_000,
    input_cache_write_1h=4_000,
    input_audio=1_000,
    input_image=1_000,
    reasoning=10_000,
    output_audio=0,
)  # with cache writes: an input token holds 2 nano-dollars, an output token 10
FREE = replace(PRICE, output=0, reasoning=0)
WISH = Wish(input_tokens=100)


def limit(wish: Wish, left: int | None, price: Price | None = PRICE) -> Clamp | Unpayable:
    return output_limit(wish, price, left_usd_nanos=left)


def test_without_a_limit_in_money_or_a_price_the_body_stays_as_it_is() -> None:
    wish = replace(WISH, stated=900, model_max=500)
    assert limit(wish, None) == limit(wish, 0, None) == Clamp(500, clamped=False)
    assert limit(WISH, None) == Clamp(None, clamped=False)


def test_a_limit_the_money_pays_is_kept() -> None:
    assert limit(replace(WISH, stated=980), 10_000) == Clamp(980, clamped=False)


def test_a_limit_above_the_money_becomes_what_the_money_pays() -> None:
    assert limit(replace(WISH, stated=981), 10_000) == Clamp(980, clamped=True)
    assert limit(replace(WISH, stated=981), 9_999) == Clamp(979, clamped=True)


def test_every_choice_must_be_payable() -> None:
    assert limit(replace(WISH, stated=981, choices=4), 10_000) == Clamp(245, clamped=True)


def test_a_limit_above_the_models_becomes_the_models() -> None:
    assert limit(replace(WISH, stated=900, model_max=500), 10**9) == Clamp(500, clamped=True)


def test_the_fee_of_a_call_comes_first() -> None:
    fee = replace(PRICE, per_call=1_000_000)
    assert limit(replace(WISH, stated=981), 10_000, fee) == Clamp(880, clamped=True)


def test_the_dearest_context_tier_within_reach_is_paid() -> None:
    long = replace(PRICE, output=20_000)
    price = replace(PRICE, long_context_above=99, long_context=long)
    assert limit(replace(WISH, stated=981), 10_000, price) == Clamp(490, clamped=True)
    assert limit(replace(WISH, stated=981), 10_000, replace(price, long_context_above=100)) == Clamp(980, clamped=True)


def test_a_silent_client_gets_what_a_quarter_pays() -> None:
    assert limit(replace(WISH, model_max=5_000), 10_000) == Clamp(230, clamped=True)
    assert limit(WISH, 10_000) == Clamp(230, clamped=True)


def test_a_silent_client_below_the_models_maximum_changes_nothing() -> None:
    assert limit(replace(WISH, model_max=200), 10_000) == Clamp(200, clamped=False)


def test_a_silent_client_gets_four_times_the_usual_where_that_is_more_and_payable() -> None:
    assert limit(replace(WISH, q95=100), 10_000) == Clamp(400, clamped=True)
    assert limit(replace(WISH, q95=10), 10_000) == Clamp(230, clamped=True)  # less
    assert limit(replace(WISH, q95=246), 10_000) == Clamp(230, clamped=True)  # 984: not payable
    assert limit(replace(WISH, q95=245), 10_000) == Clamp(980, clamped=True)


def test_the_quarter_alone_refuses_nobody() -> None:
    assert limit(WISH, 1_000) == Clamp(FLOOR_TOKENS, clamped=True)


def test_below_the_floor_a_call_is_refused_with_what_it_would_need() -> None:
    assert limit(WISH, 840) == Clamp(64, clamped=True)
    assert limit(WISH, 839) == Unpayable(64)
    assert limit(replace(WISH, stated=5_000), 839) == Unpayable(64)
    assert limit(WISH, 0) == Unpayable(64)


def test_a_client_that_wants_less_than_the_floor_may_have_it() -> None:
    assert limit(replace(WISH, stated=10), 300) == Clamp(10, clamped=False)
    assert limit(replace(WISH, stated=10), 299) == Unpayable(10)
    assert limit(replace(WISH, model_max=10), 300) == Clamp(10, clamped=False)


def test_input_alone_can_be_too_dear() -> None:
    assert limit(replace(WISH, stated=0), 199) == Unpayable(0)
    assert limit(replace(WISH, stated=0), 200) == Clamp(0, clamped=False)
    assert limit(WISH, 199, FREE) == Unpayable(64)


def test_output_that_costs_nothing_is_not_clamped() -> None:
    assert limit(replace(WISH, stated=10**6), 200, FREE) == Clamp(10**6, clamped=False)
    assert limit(WISH, 200, FREE) == Clamp(None, clamped=False)


@given(
    tokens=st.integers(0, 3_000),
    choices=st.integers(1, 5),
    stated=st.integers(0, 100_000),
    left=st.integers(0, 10**6),
    rates=st.tuples(*[st.integers(0, 50_000)] * 6),
)
def test_the_clamp_is_the_largest_limit_whose_hold_fits(
    tokens: int, choices: int, stated: int, left: int, rates: tuple[int, ...]
) -> None:
    long = replace(PRICE, input_uncached=rates[3], output=rates[4], input_cache_write_5m=0, reasoning=0)
    price = replace(
        PRICE, input_uncached=rates[0], output=rates[1], per_call=rates[2], long_context_above=1_000, long_context=long
    )

    def hold(output: int) -> int:
        return hold_usd_nanos(price, tokens, output * choices)

    found = limit(Wish(input_tokens=tokens, stated=stated, choices=choices), left, price)
    if isinstance(found, Unpayable):
        assert found.floor == min(FLOOR_TOKENS, stated)
        assert hold(found.floor) > left
        return
    assert found.limit is not None
    assert hold(found.limit) <= left
    assert found.limit == stated or hold(found.limit + 1) > left


@given(left=st.integers(0, 10**6), q95=st.none() | st.integers(0, 10**5), model_max=st.none() | st.integers(0, 10**5))
def test_a_silent_client_never_holds_more_than_is_left(left: int, q95: int | None, model_max: int | None) -> None:
    found = limit(Wish(input_tokens=50, q95=q95, model_max=model_max), left)
    if isinstance(found, Clamp):
        assert found.limit is not None
        assert hold_usd_nanos(PRICE, 50, found.limit) <= left


def test_the_gates_own_word_is_told_to_the_upstream_whoever_was_silent() -> None:
    """With a limit in money and without, with a price and without."""
    for wish in (replace(WISH, stated=900), replace(WISH, model_max=900), WISH):
        for left, price in ((None, PRICE), (10_000_000, PRICE), (10_000_000, None), (10_000_000, FREE)):
            assert limit(replace(wish, allowed=450), left, price) == Clamp(450, clamped=True)


def test_a_limit_that_only_holds_is_told_only_where_the_hold_must_be_true() -> None:
    wish = replace(WISH, otherwise=200)
    for left in (None, 10**9):
        assert limit(wish, left) == Clamp(200, clamped=False)
        assert limit(replace(wish, told=True), left) == Clamp(200, clamped=True)
    assert limit(replace(wish, told=True, stated=50), 10**9) == Clamp(50, clamped=False)


def test_thinking_beside_the_limit_is_paid_first() -> None:
    assert limit(replace(WISH, stated=981, apart=100), 10_000) == Clamp(880, clamped=True)


def test_the_dearest_input_that_may_occur_is_paid() -> None:
    dear = replace(WISH, stated=981, may_occur=("input_uncached", "input_cache_write_1h"))
    assert limit(dear, 10_000) == Clamp(960, clamped=True)
