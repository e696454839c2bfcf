"""How much is held for an attempt, and on whose accounts."""

from __future__ import annotations

from msgspec import structs

from policies import budget
from proxy.types import Head, Identity, Traits
from tests.build import call, target, with_traits

SMALL = with_traits(target(), Traits(output_tokens_max=500))


def test_the_clients_own_limit_is_held() -> None:
    held = budget.allowance(call(head=Head(model="m", output_tokens_max=200)), target()).amounts
    assert held.tokens == 100 + 200


def test_a_silent_client_is_held_at_the_models_maximum() -> None:
    assert budget.allowance(call(), SMALL).amounts.tokens == 100 + 500


def test_a_limit_above_the_models_maximum_holds_no_more_than_that() -> None:
    assert budget.allowance(call(head=Head(model="m", output_tokens_max=10**6)), SMALL).amounts.tokens == 100 + 500


def test_every_choice_is_held() -> None:
    assert (
        budget.allowance(call(head=Head(model="m", choices=3, output_tokens_max=10)), SMALL).amounts.tokens == 100 + 30
    )


def test_the_hold_in_money_covers_the_dearest_use_of_those_tokens() -> None:
    held = budget.allowance(call(head=Head(model="m", output_tokens_max=200)), target()).amounts
    assert held.usd_nanos >= 100 * 1000 + 200 * 2000


def test_embeddings_have_no_output_to_hold() -> None:
    assert budget.allowance(structs.replace(call(), endpoint="embeddings"), target()).amounts.tokens == 100


def test_an_unpriced_target_holds_tokens_only() -> None:
    held = budget.allowance(call(), target(price=None)).amounts
    assert (held.usd_nanos, held.tokens > 0) == (0, True)


def test_what_is_left_of_the_money_shortens_the_answer_and_the_upstream_is_told() -> None:
    asked = call(head=Head(model="m", fields={}, output_tokens_max=4_000))
    left = 1_000_000  # 100 of input at 1.25, at most, and 437 of output at 2 micro-dollars
    allowed = budget.allowance(asked, target(), left)
    assert (allowed.output_limit, allowed.clamped) == (437, True)
    assert allowed.amounts.usd_nanos <= left


def test_what_is_left_shortens_nothing_that_it_can_pay() -> None:
    allowed = budget.allowance(call(head=Head(model="m", fields={}, output_tokens_max=200)), target(), 10**9)
    assert (allowed.output_limit, allowed.clamped) == (200, False)


def test_a_silent_client_gets_what_a_quarter_of_the_money_pays() -> None:
    allowed = budget.allowance(call(head=Head(model="m", fields={})), target(), 4_000_000)
    assert (allowed.output_limit, allowed.clamped) == (437, True)


def test_below_the_floor_the_least_useful_answer_is_asked_for_and_the_accounts_refuse_it() -> None:
    allowed = budget.allowance(call(head=Head(model="m", fields={}, output_tokens_max=4_000)), target(), 1_000)
    assert allowed.output_limit == 64
    assert allowed.amounts.usd_nanos > 1_000


def test_a_form_is_never_shortened() -> None:
    upload = structs.replace(call(head=Head(model="m", fields=None)), endpoint="transcriptions")
    assert not budget.allowance(upload, target(), 1_000).clamped


def test_a_child_run_draws_from_its_parent() -> None:
    child = Identity(key_id="k", agent="a", run="c", parent_run="p")
    assert budget.path(call(identity=child)) == ("key:k", "agent:a", "run:p", "run:c")
    assert budget.path(call(identity=structs.replace(child, parent_run="c"))) == ("key:k", "agent:a", "run:c")


def test_the_path_runs_from_team_to_run_and_skips_what_is_absent() -> None:
    whole = Identity(key_id="k", agent="a", team="t", run="r")
    assert budget.path(call(identity=whole)) == ("team:t", "key:k", "agent:a", "run:r")
    assert budget.path(call()) == ("key:k", "agent:a")
