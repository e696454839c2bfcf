"""Which target a call goes to, by each of the strategies, and what is said about the others."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from msgspec.structs import replace

from policies.balance import CONSIDERED_MAX, SCANNED_MAX, Choice, Router
from policies.load import Loads
from proxy.types import Balance, Call, Head, Target
from tests.build import PRICE, call, target

CALL = replace(call(head=Head(model="m", stream=True)), input_tokens_estimate=100)
LONG = replace(CALL, input_tokens_estimate=8_000)
CRITICAL = replace(CALL, priority="critical")
A, B, C = target("a/m", domain="east"), target("b/m", domain="east"), target("c/m", domain="west")
ALL = (A, B, C)
WARM = 100.0
STRATEGIES: tuple[Balance, ...] = ("score", "weighted", "ordered", "least_cost", "lowest_latency")


def warm(*targets: Target) -> Loads:
    loads = Loads()
    loads.scores(CALL, targets, 0.0)
    return loads


def drawn(router: Router, targets: tuple[Target, ...], count: int = 1_000, of: Call = CALL) -> Counter[str]:
    rng = Random(7)
    return Counter(router.choose(of, targets, tried=(), now=WARM, rng=rng).target.id for _ in range(count))


def choose(router: Router, targets: tuple[Target, ...], *tried: Target, seed: int = 1, of: Call = CRITICAL) -> Choice:
    return router.choose(of, targets, tried=tried, now=WARM, rng=Random(seed))


@pytest.mark.parametrize("balance", STRATEGIES)
def test_a_retry_leaves_the_failure_domain_if_it_can(balance: Balance) -> None:
    router = Router(balance, warm(*ALL))
    for seed in range(30):
        assert choose(router, ALL, A, seed=seed).target is C
        assert choose(router, (A, B), A, seed=seed).target is B
        assert choose(router, (A, B), A, B, seed=seed).target is A
        assert choose(router, (A,), A, A, seed=seed).target is A


def test_equal_idle_targets_share_by_weight() -> None:
    heavy, light = target("heavy/m", weight=3), target("light/m", weight=1)
    for balance in ("score", "weighted", "lowest_latency"):
        counted = drawn(Router(balance, warm(heavy, light)), (heavy, light))
        assert 700 < counted["heavy/m"] < 800


@pytest.mark.parametrize("balance", STRATEGIES)
def test_a_weight_of_nothing_serves_only_as_a_last_resort(balance: Balance) -> None:
    spare = target("spare/m", weight=0)
    assert choose(Router(balance, warm(spare, A)), (spare, A)).target is A
    assert choose(Router(balance, warm(spare)), (spare, replace(spare, id="other/m"))).target.weight == 0


def test_score_takes_the_one_with_the_least_ahead() -> None:
    loads = warm(*ALL)
    loads.started(LONG, A, WARM)
    loads.started(LONG, B, WARM)
    assert choose(Router("score", loads), ALL).target is C
    assert choose(Router("lowest_latency", loads), ALL).target is C
    assert drawn(Router("weighted", loads), ALL)["a/m"] > 250


def test_score_keeps_the_answers_of_others_quick_and_lowest_latency_only_its_own() -> None:
    loads = warm(A, B)
    for _ in range(200):
        loads.first_event(loads.started(replace(CALL, input_tokens_estimate=0), A, WARM), WARM)
    assert choose(Router("score", loads), (A, B)).target is B
    assert len(drawn(Router("lowest_latency", loads), (A, B))) == 2


def test_one_call_of_a_hundred_goes_anywhere_but_no_critical_one() -> None:
    loads = warm(A, B)
    loads.started(LONG, A, WARM)
    router = Router("score", loads)
    assert 10 < drawn(router, (A, B), 5_000)["a/m"] < 50
    assert drawn(router, (A, B), 5_000, CRITICAL)["a/m"] == 0


def test_ordered_takes_the_first_group_and_shares_within_it() -> None:
    first, also, last = replace(A, order=0, weight=3.0), replace(B, order=0), replace(C, order=1)
    router = Router("ordered", Loads())
    counted = drawn(router, (last, first, also))
    assert 700 < counted["a/m"] < 800
    assert counted["c/m"] == 0
    assert choose(Router("ordered", Loads()), (last, first, also), first, also).target is last


def test_least_cost_takes_the_cheapest_and_an_unknown_price_last() -> None:
    dear, cheap = target("dear/m", price=replace(PRICE, per_call=1_000_000_000)), target("cheap/m")
    unknown = target("unknown/m", price=None)
    router = Router("least_cost", Loads())
    assert choose(router, (unknown, dear, cheap)).target is cheap
    assert choose(router, (unknown, dear)).target is dear
    assert set(drawn(router, (unknown, replace(unknown, id="other/m")))) == {"unknown/m", "other/m"}


@pytest.mark.parametrize(("other_s", "both"), [(0.205, True), (0.3, False)])
def test_what_may_be_chance_is_a_tie(other_s: float, both: bool) -> None:
    loads = warm(A, B)
    for n in range(60):
        for at, seconds in ((A, 0.2), (B, other_s)):
            ticket = loads.started(CALL, at, WARM - 60 + n)
            loads.first_event(ticket, WARM - 60 + n + seconds)
            loads.ended(ticket, WARM - 60 + n + seconds, None)
    counted = drawn(Router("score", loads), (A, B), of=CRITICAL)
    assert (400 < counted["b/m"] < 600) if both else counted["b/m"] == 0


def test_a_target_that_warms_up_is_drawn_for_its_part_only() -> None:
    loads = warm(A, B)
    loads.warming(B.id, WARM, 5.0)
    counted = drawn(Router("score", loads), (A, B), of=replace(CALL, input_tokens_estimate=0))
    assert 60 < counted["b/m"] < 130


def test_of_very_many_targets_six_are_looked_at_and_the_best_are_remembered() -> None:
    many = tuple(target(f"p{n}/m") for n in range(SCANNED_MAX + 20))
    loads = warm(*many)
    idle = many[17]
    for each in many:
        if each is not idle:
            loads.started(LONG, each, WARM)
    router = Router("score", loads)
    choices = [choose(router, many, seed=seed) for seed in range(100)]
    assert max(len(choice.candidates) for choice in choices) <= 6
    found = [choice.target is idle for choice in choices]
    assert all(found[found.index(True) :])


def test_how_many_pools_are_remembered_is_bounded() -> None:
    many = tuple(target(f"p{n}/m") for n in range(SCANNED_MAX + 1))
    router = Router("score", warm(*many))
    for n in range(400):
        choose(router, many, of=replace(CRITICAL, route=f"r{n}"))
    assert len(router._best) == 256


def test_a_choice_says_what_it_looked_at_and_why_not_the_others() -> None:
    loads = warm(*ALL)
    loads.started(LONG, A, WARM)
    choice = choose(Router("score", loads), ALL, B)
    assert choice.reason == "the only one left"
    assert [(each.target, each.why_not) for each in choice.considered] == [
        ("c/m", ""),
        ("a/m", "in east, as one that was tried before"),
        ("b/m", "tried before"),
    ]
    choice = choose(Router("score", loads), (A, C))
    chosen, other = choice.considered
    assert (chosen.target, chosen.why_not, choice.reason) == ("c/m", "", "lowest in score")
    assert (other.target, other.why_not) == ("a/m", "1.00 s above the lowest")
    assert other.score_s is not None
    assert chosen.score_s is not None
    assert other.score_s > chosen.score_s


def test_the_others_are_named_where_nothing_was_measured() -> None:
    choice = choose(Router("ordered", Loads()), (replace(A, order=1), replace(B, order=2)))
    assert [(each.target, each.score_s, each.why_not) for each in choice.considered] == [
        ("a/m", None, ""),
        ("b/m", None, ""),
    ]


def test_a_choice_names_a_few_at_most_the_chosen_one_first() -> None:
    many = tuple(target(f"p{n}/m") for n in range(20))
    for seed in range(20):
        choice = choose(Router("score", warm(*many)), many, seed=seed)
        assert len(choice.considered) == CONSIDERED_MAX
        assert choice.considered[0].target == choice.target.id


def test_a_single_target_needs_no_choice() -> None:
    router = Router("score", Loads())
    choice = choose(router, (A,))
    assert (choice.target, choice.reason) == (A, "the only target")
    assert [each.target for each in choice.considered] == ["a/m"]
    assert repr(router) == "Router('score', Loads())"
