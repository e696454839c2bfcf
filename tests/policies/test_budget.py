"""How much is held for an attempt, and on whose accounts."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from policies import budget
from policies.budget import Allowance
from policies.estimate import Expected
from pricing.book import hold_usd_nanos
from pricing.gpu import GpuForecast, GpuRate
from proxy.holds import Left
from proxy.types import Call, Head, Identity, Price, Target, Traits
from tests.build import PRICE, call, target, with_traits

TIERED = structs.replace(PRICE, long_context_above=90, long_context=structs.replace(PRICE, output=9_000_000))
SMALL = with_traits(target(), Traits(output_tokens_max=500))
EXACT = Expected(input_tokens=100, input_margin=100)


def allowed(of: Call, at: Target, left: int | None = None) -> Allowance:
    """Of a call whose input is known."""
    return budget.allowance(of, at, EXACT, Left(left, hard=left is not None))


def test_the_clients_own_limit_is_held() -> None:
    held = allowed(call(head=Head(model="m", output_tokens_max=200)), target()).amounts
    assert held.tokens == 100 + 200


def test_a_silent_client_is_held_at_the_models_maximum() -> None:
    assert allowed(call(), SMALL).amounts.tokens == 100 + 500


def test_a_limit_above_the_models_maximum_holds_no_more_than_that() -> None:
    assert allowed(call(head=Head(model="m", output_tokens_max=10**6)), SMALL).amounts.tokens == 100 + 500


def test_every_choice_is_held() -> None:
    assert allowed(call(head=Head(model="m", choices=3, output_tokens_max=10)), SMALL).amounts.tokens == 100 + 30


def test_the_hold_in_money_covers_the_dearest_use_of_those_tokens() -> None:
    held = allowed(call(head=Head(model="m", output_tokens_max=200)), target()).amounts
    assert held.usd_nanos >= 100 * 1000 + 200 * 2000


def test_embeddings_have_no_output_to_hold() -> None:
    assert allowed(structs.replace(call(), endpoint="embeddings"), target()).amounts.tokens == 100


def test_an_unpriced_target_holds_tokens_only() -> None:
    held = allowed(call(), target(price=None)).amounts
    assert (held.usd_nanos, held.tokens > 0) == (0, True)


def test_what_is_left_of_the_money_shortens_the_answer_and_the_upstream_is_told() -> None:
    asked = call(head=Head(model="m", fields={}, output_tokens_max=4_000))
    left = 1_000_000  # 100 of input at 1.25, at most, and 437 of output at 2 micro-dollars
    found = allowed(asked, target(), left)
    assert (found.output_limit, found.clamped) == (437, True)
    assert found.amounts.usd_nanos <= left


def test_what_is_left_shortens_nothing_that_it_can_pay() -> None:
    found = allowed(call(head=Head(model="m", fields={}, output_tokens_max=200)), target(), 10**9)
    assert (found.output_limit, found.clamped) == (200, False)


def test_a_silent_client_gets_what_a_quarter_of_the_money_pays() -> None:
    found = allowed(call(head=Head(model="m", fields={})), target(), 4_000_000)
    assert (found.output_limit, found.clamped) == (437, True)


def test_below_the_floor_the_least_useful_answer_is_asked_for_and_the_accounts_refuse_it() -> None:
    found = allowed(call(head=Head(model="m", fields={}, output_tokens_max=4_000)), target(), 1_000)
    assert found.output_limit == 64
    assert found.amounts.usd_nanos > 1_000


COUNTS = st.one_of(st.none(), st.integers(0, 6_000))


@example(
    Head("m", fields={}), Traits(output_tokens_max=0, reasoning_tokens_max=300), Expected(100, 1), Left(5_000), PRICE
)
@given(
    head=st.builds(Head, model=st.just("m"), fields=st.just({}), output_tokens_max=COUNTS, choices=st.integers(1, 3)),
    traits=st.builds(Traits, output_tokens_max=COUNTS, reasoning_tokens_max=st.sampled_from([0, 300])),
    expected=st.builds(Expected, st.just(100), st.integers(1, 200), q95=COUNTS, watched=st.booleans()),
    left=st.builds(Left, st.one_of(st.none(), st.integers(0, 40_000_000)), hard=st.booleans(), tokens=st.booleans()),
    price=st.sampled_from([PRICE, structs.replace(PRICE, output=0), TIERED]),
)
def test_what_is_held_as_asked_is_what_all_limits_together_would_say(
    head: Head, traits: Traits, expected: Expected, left: Left, price: Price
) -> None:
    asked, at = call(head=head), with_traits(target(price=price), traits)
    short = budget.as_asked(asked, at, expected, left)
    if short is not None:
        assert short == budget.fitted(asked, at, expected, left)
    elif 0 not in (head.output_tokens_max, traits.output_tokens_max) and None in (
        head.output_tokens_max,
        traits.output_tokens_max,
    ):
        assert left.usd_nanos is not None, "only the money stands in the way"


def test_a_form_is_never_shortened() -> None:
    upload = structs.replace(call(head=Head(model="m", fields=None)), endpoint="transcriptions")
    assert not allowed(upload, target(), 1_000).clamped


def test_a_child_run_draws_from_all_above_it() -> None:
    child = Identity(key_id="k", agent="a", run="c", parent_run="p")
    assert budget.path(call(identity=child), ("run:p", "run:c")) == ("key:k", "agent:a", "run:p", "run:c")


def test_the_path_runs_from_team_to_run_and_skips_what_is_absent() -> None:
    whole = Identity(key_id="k", agent="a", team="t", run="r")
    assert budget.path(call(identity=whole), ("run:r",)) == ("team:t", "key:k", "agent:a", "run:r")
    assert budget.path(call()) == ("key:k", "agent:a")


# --- how much of what may come is held -------------------------------------------------------------------------------

WATCHED = Expected(input_tokens=100, input_margin=214, watched=True)
LONG = call(head=Head(model="m", stream=True, fields={}, output_tokens_max=4_000))


def test_an_estimate_holds_its_margin_and_a_strict_limit_the_bound() -> None:
    body = call(raw=b"x" * 1_000)
    assert budget.allowance(body, target(), WATCHED, Left(hard=True)).input_tokens == 214
    strict = budget.allowance(body, target(), WATCHED, Left(hard=True, strict=True))
    assert strict.input_tokens >= 1_000


def test_no_margin_is_above_the_bound_and_no_bound_above_the_context() -> None:
    wild = structs.replace(WATCHED, input_margin=50_000)
    assert budget.allowance(call(), target(), wild).input_tokens < 1_000
    narrow = with_traits(target(), Traits(context_tokens=90))
    for left in (Left(), Left(strict=True)):
        assert budget.allowance(call(), narrow, WATCHED, left).input_tokens == 90


def test_hard_limits_hold_all_the_output_and_soft_ones_what_is_usual() -> None:
    hard = budget.allowance(LONG, target(), WATCHED, Left(hard=True))
    soft = budget.allowance(LONG, target(), WATCHED, Left(soft=True))
    assert hard.amounts.usd_nanos - soft.amounts.usd_nanos == (4_000 - 1_024) * 2_000
    both = budget.allowance(LONG, target(), WATCHED, Left(hard=True, soft=True)).amounts
    assert (both.usd_nanos, both.soft_usd_nanos) == (hard.amounts.usd_nanos, soft.amounts.usd_nanos)


def test_a_limit_in_tokens_holds_what_is_usual_unless_the_call_is_strict() -> None:
    assert budget.allowance(LONG, target(), WATCHED, Left(tokens=True)).amounts.tokens == 214 + 1_024
    strict = budget.allowance(LONG, target(), WATCHED, Left(tokens=True, strict=True))
    assert strict.amounts.tokens == strict.input_tokens + 4_000


def test_what_is_usual_is_learnt_and_never_more_than_the_limit() -> None:
    known = structs.replace(WATCHED, q95=300)
    assert budget.allowance(LONG, target(), known, Left(soft=True)).output_held == 300
    known = structs.replace(WATCHED, q95=9_000)
    assert budget.allowance(LONG, target(), known, Left(soft=True)).output_held == 4_000


def test_what_cannot_be_watched_is_held_in_full_everywhere() -> None:
    unseen = structs.replace(WATCHED, watched=False)
    found = budget.allowance(LONG, target(), unseen, Left(soft=True, tokens=True))
    assert found.output_held == found.output_max == 4_000


def test_thinking_that_the_limit_does_not_count_is_held_beside_it() -> None:
    thinker = with_traits(target(), Traits(reasoning_tokens_max=1_000))
    two = structs.replace(LONG, head=structs.replace(LONG.head, choices=2))
    assert budget.allowance(two, thinker, WATCHED).output_max == 2 * 5_000
    found = budget.allowance(LONG, thinker, WATCHED, Left(5_000_000, hard=True))
    assert found.clamped
    assert found.amounts.usd_nanos <= 5_000_000


def test_a_silent_client_is_told_the_limit_that_a_strict_hold_is_good_for() -> None:
    silent = call(head=Head(model="m", stream=True, fields={}))
    strict = budget.allowance(silent, target(), WATCHED, Left(10**12, hard=True, strict=True))
    assert (strict.output_limit, strict.clamped, strict.open) == (4_096, True, False)
    free = budget.allowance(silent, target(), WATCHED, Left(10**12, hard=True))
    assert (free.output_limit, free.clamped, free.open) == (4_096, False, True)


def test_a_hold_grows_up_to_the_limit_and_beyond_it_only_where_there_is_none() -> None:
    soft = budget.allowance(LONG, target(), WATCHED, Left(soft=True))
    grown = budget.enlarged(soft, target(), input_tokens=300, output_tokens=9_000)
    assert (grown.input_tokens, grown.output_held, grown.output_max) == (300, 4_000, 4_000)
    assert grown.amounts.usd_nanos > soft.amounts.usd_nanos
    silent = call(head=Head(model="m", stream=True, fields={}))
    unlimited = budget.allowance(silent, target(), WATCHED, Left(hard=True))
    assert budget.enlarged(unlimited, target(), input_tokens=0, output_tokens=9_000).output_max == 9_000


def test_what_a_soft_hold_leaves_out_is_its_exposure() -> None:
    soft = budget.allowance(LONG, target(), WATCHED, Left(soft=True))
    assert budget.exposure_usd_nanos(soft, target()) == (4_000 - 1_024) * 2_000
    hard = budget.allowance(LONG, target(), WATCHED, Left(soft=True, hard=True))
    assert budget.exposure_usd_nanos(hard, target()) == 0


def test_dearer_input_is_held_where_the_body_can_cause_it() -> None:
    price = structs.replace(PRICE, input_audio=9_000_000, input_cache_write_1h=7_000_000, input_image=5_000_000)

    def each(raw: bytes) -> int:
        of = structs.replace(call(raw=raw, head=Head(model="m", fields={})), endpoint="embeddings")
        return budget.allowance(of, target(price=price), EXACT).amounts.usd_nanos // 100

    assert each(b"{}") == 1_250
    assert each(b'{"type":"image_url"}') == 5_000
    assert each(b'{"ttl":"1h"}') == 7_000
    assert each(b'{"ttl":"\\u0031h"}') == 9_000
    assert each(b'{"type":"input_audio"}') == 9_000


# --- engines of one's own

GPU = target(price=GpuRate(3_600_000_000).price)  # a second costs a million nano-dollars
TIMED = structs.replace(EXACT, time=GpuForecast(GPU.price or PRICE, 1, spread=1.0, spread_max=1.0, left_s=60.0))
OF_100 = call(head=Head(model="m", output_tokens_max=100))


def test_the_time_of_an_engine_is_held_and_not_its_tokens() -> None:
    held = budget.allowance(OF_100, GPU, TIMED, Left(10**12, hard=True))
    assert (held.amounts.usd_nanos, held.amounts.tokens, held.clamped) == (1_500_000, 200, False)
    soft = budget.allowance(OF_100, GPU, TIMED, Left(10**12, hard=True, soft=True))
    assert soft.amounts.by_index[5] == 1_500_000
    assert budget.exposure_usd_nanos(held, GPU) == 0


def test_a_strict_limit_holds_the_engine_to_the_deadline() -> None:
    held = budget.allowance(OF_100, GPU, TIMED, Left(10**12, hard=True, strict=True))
    assert held.amounts.usd_nanos == 60_250_000


def test_a_longer_hold_changes_the_money_alone() -> None:
    held = budget.allowance(OF_100, GPU, TIMED, Left(10**12, hard=True))
    longer = budget.lengthened(held, GPU, 2_000_000).amounts
    assert (longer.usd_nanos, longer.tokens) == (2_000_000, held.amounts.tokens)


def test_what_is_reached_is_the_hold_for_so_much_and_never_more_than_all_of_it() -> None:
    sized = budget.allowance(call(head=Head(model="m", fields={}, output_tokens_max=4_000)), target(), EXACT)
    some = budget.reached(sized, target(), input_tokens=50, output_tokens=100)
    price = target().price
    assert price is not None
    assert some.usd_nanos == hold_usd_nanos(price, 50, 100)
    assert some.tokens == 150
    assert budget.reached(sized, target(), input_tokens=10**9, output_tokens=10**9) == sized.amounts
