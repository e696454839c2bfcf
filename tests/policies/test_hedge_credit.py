"""Three allowances, and all of them must agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from policies.hedge_credit import USD, CreditRules, Credits
from proxy.types import Call, Identity
from tests import build

RULES = CreditRules(burst=4.0, start=2.0)


def calling(run: str | None = None, team: str | None = None, route: str = "m") -> Call:
    return structs.replace(build.call(route), identity=Identity(key_id="k", agent="a", run=run, team=team))


def taken(credits: Credits, call: Call, *, cost: int = 0, left: int | None = None, most: int = 50) -> int:
    for number in range(most):
        if credits.withdraw(call, cost_usd_nanos=cost, left_usd_nanos=left) is not None:
            return number
    return most


def test_a_route_begins_with_its_start_and_earns_a_share_of_each_primary() -> None:
    credits = Credits(RULES)
    assert taken(credits, calling()) == 2
    for _ in range(50):
        credits.ended(calling(), 0.02)
    assert taken(credits, calling()) == 1
    assert taken(credits, calling(route="other")) == 2


def test_it_saves_no_more_than_the_burst() -> None:
    credits = Credits(RULES)
    for _ in range(1_000):
        credits.ended(calling(), 0.05)
    assert credits.fullness(calling()) == 1.0
    assert taken(credits, calling()) == 4
    assert credits.fullness(calling()) == 0.0


def test_a_route_that_is_new_is_not_poor() -> None:
    """What is left counts against what it could have by now, else all young routes would wait longer."""
    credits = Credits(RULES)
    assert credits.fullness(calling()) == 1.0
    assert taken(credits, calling(), most=1) == 1
    assert credits.fullness(calling()) == 0.5
    for _ in range(20):
        credits.ended(calling(), 0.05)
    assert credits.fullness(calling()) == pytest.approx(2 / 3)
    assert Credits(structs.replace(RULES, start=0.0)).fullness(calling()) == 0.0


@given(st.lists(st.booleans(), max_size=300))
def test_hedges_never_exceed_the_start_and_a_share_of_the_primaries(steps: list[bool]) -> None:
    credits, hedges, ended = Credits(RULES), 0, 0
    for is_end in steps:
        if is_end:
            credits.ended(calling(), 0.05)
            ended += 1
        else:
            hedges += credits.withdraw(calling(), cost_usd_nanos=0, left_usd_nanos=None) is None
    assert hedges <= RULES.start + 0.05 * ended + 1e-6


def test_a_run_has_two_hedges() -> None:
    credits = Credits(structs.replace(RULES, start=6.0))
    assert taken(credits, calling(run="r")) == 2
    short = credits.withdraw(calling(run="r"), cost_usd_nanos=0, left_usd_nanos=None)
    assert short == ("run_budget", "its run has had its hedges")
    assert taken(credits, calling(run="s")) == 2
    assert taken(credits, calling(run="r", team="t")) == 2, "another tenant's of that name"


def test_a_tenant_pays_its_hedges_from_a_share_of_what_it_paid() -> None:
    credits = Credits(structs.replace(RULES, burst=100.0, start=100.0))
    assert taken(credits, calling(team="t"), cost=USD // 10) == 5
    assert taken(credits, calling(team="u"), cost=USD // 10) == 5
    credits.settled(calling(team="t"), 5 * USD, 0.02)
    assert taken(credits, calling(team="t"), cost=USD // 10) == 1


def test_of_dear_calls_a_tenant_saves_up_as_many_hedges_as_a_route() -> None:
    """Half a dollar would be one of them, and the next late call would have to wait for money."""
    credits = Credits(structs.replace(RULES, burst=10.0, start=10.0))
    for _ in range(2_000):
        credits.settled(calling(), USD // 2, 0.05)
    assert taken(credits, calling(), cost=USD // 2 - 1) == 10


@given(st.lists(st.integers(USD // 10, USD), min_size=20, max_size=60))
def test_what_hedges_cost_never_exceeds_what_is_begun_with_and_the_share_of_what_was_paid(paid: list[int]) -> None:
    credits, cost, spent = Credits(structs.replace(RULES, burst=1e9, start=1e9)), USD // 200, 0
    for usd_nanos in paid:
        credits.settled(calling(), usd_nanos, 0.05)
        spent += cost * taken(credits, calling(), cost=cost, most=200)
    assert spent <= RULES.burst_usd_nanos + 0.05 * sum(paid) + 1.0
    assert spent >= RULES.burst_usd_nanos + 0.05 * sum(paid) - cost - 1.0


@pytest.mark.parametrize(("left", "allowed"), [(None, True), (20 * 1_000, True), (19 * 1_000, False), (0, False)])
def test_a_hedge_may_cost_a_sliver_of_what_is_left(left: int | None, allowed: bool) -> None:
    short = Credits(RULES).withdraw(calling(), cost_usd_nanos=1_000, left_usd_nanos=left)
    assert (short is None) is allowed
    assert short is None or short[0] == "usd_budget"


def test_what_is_refused_takes_nothing() -> None:
    credits = Credits(RULES)
    for call, cost, left in ((calling(), USD, None), (calling(), 1_000, 0)):
        assert credits.withdraw(call, cost_usd_nanos=cost, left_usd_nanos=left) is not None
    assert credits.fullness(calling()) == 1.0
    assert taken(credits, calling(run="r")) == 2
    assert "Credits(1 routes" in repr(credits)
