from __future__ import annotations

from random import Random

from msgspec import structs

from policies.balance import Router
from policies.load import Loads
from policies.stickiness import HOMES_MAX, KEPT_S, RUNS_MAX, Stickiness
from proxy.types import Balance, Call, Identity, Target
from tests.build import PRICE, call, target

HERE, THERE = target("a/m"), target("b/m")
BOTH = (HERE, THERE)


def step(
    run: str | None = "r",
    *,
    tokens: int = 50_000,
    key: str = "k",
    team: str | None = None,
    deadline: float = 1600.0,
) -> Call:
    made = call(identity=Identity(key_id=key, agent="a", team=team, run=run), deadline=deadline)
    return structs.replace(made, input_tokens_estimate=tokens)


def settled(calls: int = 1, *, of: Target = HERE, loads: Loads | None = None) -> Stickiness:
    sticky = Stickiness(loads or Loads())
    for _ in range(calls):
        sticky.answered(step(), of, 1000.0)
    return sticky


def cheaper(of: Target, share: float) -> Target:
    price = structs.replace(
        PRICE,
        id="cheap",
        input_uncached=round(PRICE.input_uncached * share),
        input_cached=round(PRICE.input_cached * share),
        input_cache_write_5m=round(PRICE.input_cache_write_5m * share),
        output=round(PRICE.output * share),
    )
    return structs.replace(of, price=price)


def test_a_run_stays_where_its_first_answer_came_from() -> None:
    sticky = settled()
    assert sticky.home(step(), BOTH, 1010.0) is HERE
    assert sticky.home(step("other"), BOTH, 1010.0) is None
    assert sticky.home(step(key="another"), BOTH, 1010.0) is None
    assert sticky.home(step(team="red"), BOTH, 1010.0) is None
    assert sticky.home(step(None), BOTH, 1010.0) is None
    assert sticky.home(step(tokens=1_023), BOTH, 1010.0) is None, "so little is cached nowhere"


def test_the_keys_of_a_team_have_one_run() -> None:
    sticky = Stickiness(Loads())
    sticky.answered(step(team="red"), HERE, 1000.0)
    assert sticky.home(step(team="red", key="another"), BOTH, 1010.0) is HERE


def test_what_was_not_used_for_long_is_cold_everywhere() -> None:
    assert settled().home(step(), BOTH, 1000.0 + KEPT_S) is HERE
    assert settled().home(step(), BOTH, 1001.0 + KEPT_S) is None


def test_only_who_sells_cached_input_for_less_is_a_home() -> None:
    own = structs.replace(HERE, price=structs.replace(PRICE, input_cached=PRICE.input_uncached))
    engine = structs.replace(HERE, traits=structs.replace(HERE.traits, prefix_cache=True))
    for other in (own, engine, structs.replace(HERE, price=None)):
        assert settled(of=other).home(step(), BOTH, 1010.0) is None


def test_a_home_that_is_out_is_kept_for_five_minutes_and_then_the_run_has_moved() -> None:
    sticky = settled()
    assert sticky.home(step(), (THERE,), 1010.0) is None
    sticky.answered(step(), THERE, 1010.0)
    assert sticky.home(step(), BOTH, 1020.0) is HERE, "it is back before the prompt is cold"
    sticky.answered(step(), THERE, 1010.0 + KEPT_S + 1)
    assert sticky.home(step(), BOTH, 1020.0 + KEPT_S) is THERE


def test_each_rung_of_a_cascade_has_a_home_of_its_own() -> None:
    small, large = (target("a/small"), target("b/small")), (target("a/large"), target("b/large"))
    sticky = Stickiness(Loads())
    sticky.answered(step(), small[1], 1000.0)
    sticky.answered(step(), large[0], 1001.0)
    sticky.answered(step(), small[1], 1002.0)
    assert sticky.home(step(), small, 1003.0) is small[1]
    assert sticky.home(step(), large, 1003.0) is large[0]


def test_a_run_has_only_so_many_homes() -> None:
    sticky = Stickiness(Loads())
    many = [target(f"a/m{number}") for number in range(HOMES_MAX + 5)]
    for each in many:
        sticky.answered(step(), each, 1000.0)
    known = [each.id for each in many if sticky.home(step(), (each,), 1001.0)]
    assert known == [each.id for each in many[-HOMES_MAX:]]


def test_a_call_leaves_a_home_that_would_make_it_late() -> None:
    loads = Loads()
    for at in range(6):
        for of, seconds in ((HERE, 30.0), (THERE, 0.5)):
            began = 700.0 + 50.0 * at
            ticket = loads.started(structs.replace(step(tokens=10), head=STREAM), of, began)
            loads.first_event(ticket, began + seconds)
            loads.ended(ticket, began + seconds, None)
    sticky = settled(loads=loads)
    streamed = structs.replace(step(), head=STREAM)
    assert sticky.home(streamed, BOTH, 1010.0) is HERE, "there is time"
    assert sticky.home(structs.replace(streamed, deadline=1030.0), BOTH, 1010.0) is None
    assert sticky.home(structs.replace(streamed, deadline=1030.0), (HERE,), 1010.0) is HERE, "it is late everywhere"


STREAM = structs.replace(call().head, stream=True)


def test_a_run_moves_when_what_it_saves_is_above_the_price_of_a_cold_prompt() -> None:
    """50,000 tokens: a step costs 5.5 thousandths here, 0.55 there; a cold prompt there costs 5.75."""
    bargain = (HERE, cheaper(THERE, 0.1))
    assert settled(1).home(step(), bargain, 1010.0) is HERE
    assert settled(2).home(step(), bargain, 1010.0) is None
    assert settled(100).home(step(), (HERE, cheaper(THERE, 1.1)), 1010.0) is HERE


def test_the_home_comes_before_a_strategy_but_not_before_an_operators_order() -> None:
    chosen = {}
    balances: tuple[Balance, ...] = ("score", "weighted", "least_cost", "lowest_latency", "ordered")
    for balance in balances:
        router = Router(balance, Loads(), stickiness=settled(of=THERE))
        ordered = (HERE, structs.replace(THERE, order=1, weight=0.0))
        choice = router.choose(step(), ordered, tried=(), now=1010.0, rng=Random(1))
        chosen[balance] = choice.target.id
        again = router.choose(step(), ordered, tried=(THERE,), now=1010.0, rng=Random(1))
        assert again.target is HERE, "a retry leaves what has failed"
    assert chosen == {**dict.fromkeys(balances, "b/m"), "ordered": "a/m"}


def test_only_so_many_runs_are_remembered() -> None:
    sticky = Stickiness(Loads())
    for number in range(RUNS_MAX + 10):
        sticky.answered(step(f"r{number}"), HERE, 1000.0)
    assert repr(sticky) == f"Stickiness({RUNS_MAX} runs)"
