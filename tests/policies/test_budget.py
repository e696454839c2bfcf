"""How much is held for an attempt, and on whose accounts."""

from __future__ import annotations

from msgspec import structs

from policies import budget
from proxy.types import Head, Identity, Traits
from tests.build import call, target, with_traits

SMALL = with_traits(target(), Traits(output_tokens_max=500))


def test_the_clients_own_limit_is_held() -> None:
    held = budget.hold(call(head=Head(model="m", output_tokens_max=200)), target())
    assert held.tokens == 100 + 200


def test_a_silent_client_is_held_at_the_models_maximum() -> None:
    assert budget.hold(call(), SMALL).tokens == 100 + 500


def test_a_limit_above_the_models_maximum_holds_no_more_than_that() -> None:
    assert budget.hold(call(head=Head(model="m", output_tokens_max=10**6)), SMALL).tokens == 100 + 500


def test_every_choice_is_held() -> None:
    assert budget.hold(call(head=Head(model="m", choices=3, output_tokens_max=10)), SMALL).tokens == 100 + 30


def test_the_hold_in_money_covers_the_dearest_use_of_those_tokens() -> None:
    held = budget.hold(call(head=Head(model="m", output_tokens_max=200)), target())
    assert held.usd_nanos >= 100 * 1000 + 200 * 2000


def test_embeddings_have_no_output_to_hold() -> None:
    assert budget.hold(structs.replace(call(), endpoint="embeddings"), target()).tokens == 100


def test_an_unpriced_target_holds_tokens_only() -> None:
    held = budget.hold(call(), target(price=None))
    assert (held.usd_nanos, held.tokens > 0) == (0, True)


def test_the_path_runs_from_team_to_run_and_skips_what_is_absent() -> None:
    whole = Identity(key_id="k", agent="a", team="t", run="r")
    assert budget.path(call(identity=whole)) == ("team:t", "key:k", "agent:a", "run:r")
    assert budget.path(call()) == ("key:k", "agent:a")
