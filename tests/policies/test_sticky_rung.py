"""A run stays at the rung that answered it, and comes down only where that is worth its price."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from policies.accept import FirstRung
from policies.sticky_rung import COLD_S, STEPS_LEAST, STEPS_MAX, STEPS_USUAL, StickyRung
from proxy.types import Call, Identity, Plan
from tests.build import PRICE, call, target

NOW = 1000.0


def step(run: str | None = "r", *, tokens: int = 2_000, agent: str = "a") -> Call:
    made = call(identity=Identity(key_id="k", agent=agent, run=run))
    return structs.replace(made, input_tokens_estimate=tokens)


def rung(name: str, times: float, *, read: float = 0.1) -> Plan:
    price = structs.replace(
        PRICE,
        input_uncached=int(1_000_000 * times),
        input_cached=int(1_000_000 * times * read),
        input_cache_write_5m=int(1_250_000 * times),
        output=int(5_000_000 * times),
        long_context=None,
    )
    return Plan("single", ((structs.replace(target(f"p/{name}"), price=price),),), "", model=name)


def ladder(*times: float, read: float = 0.1) -> Plan:
    members = tuple(rung(f"m{at}", each, read=read) for at, each in enumerate(times))
    return Plan("cascade", members[0].steps, "", members=members, model="smart")


PLAN = ladder(1, 10)


def climbed(plan: Plan = PLAN, steps: int = 1, *, tokens: int = 2_000) -> StickyRung:
    """A run that went up with its first step, and has had so many since."""
    sticky = StickyRung()
    sticky.answered(step(tokens=tokens), plan, 1, escalated=True, now=NOW)
    for _ in range(steps - 1):
        sticky.answered(step(tokens=tokens), plan, 1, escalated=False, now=NOW)
    return sticky


def test_a_run_begins_at_the_bottom_and_stays_there_while_it_is_good_enough() -> None:
    sticky: FirstRung = StickyRung()
    for _ in range(20):
        assert sticky.first(step(), PLAN, NOW) == (0, "")
        sticky.answered(step(), PLAN, 0, escalated=False, now=NOW)


def test_another_try_of_the_same_model_is_nothing_to_stay_at() -> None:
    same = ladder(1, 1)
    assert climbed(same).first(step(), same, NOW) == (0, "")
    dearer = ladder(1, 1, 10)
    sticky = StickyRung()
    sticky.answered(step(), dearer, 2, escalated=True, now=NOW)
    assert sticky.first(step(), dearer, NOW)[0] == 2


def test_who_has_climbed_stays_up_for_five_steps() -> None:
    for steps in range(1, STEPS_LEAST + 1):
        found, why = climbed(steps=steps).first(step(), PLAN, NOW)
        assert found == 1
        assert why == f"the run climbed {steps - 1} steps ago, and stays for 5"
    assert climbed(steps=STEPS_LEAST + 1).first(step(), PLAN, NOW) == (0, "")


def test_other_runs_agents_and_cascades_are_not_concerned() -> None:
    sticky = climbed()
    assert sticky.first(step("other"), PLAN, NOW)[0] == 0
    assert sticky.first(step(None), PLAN, NOW)[0] == 0
    theirs = structs.replace(step(), identity=structs.replace(step().identity, team="red"))
    assert sticky.first(theirs, PLAN, NOW)[0] == 0
    assert sticky.first(step(), structs.replace(PLAN, model="else"), NOW)[0] == 0
    sticky.answered(step(None), PLAN, 1, escalated=True, now=NOW)
    assert sticky.first(step(None), PLAN, NOW)[0] == 0


def test_a_move_down_has_to_repay_the_prompt_that_it_writes_again() -> None:
    """From twice the price: each of ten steps saves 0.1 x tokens + 5 x 250, the move costs 1.15 x tokens."""
    near = ladder(1, 2)
    found, why = climbed(near, 6).first(step(tokens=90_000), near, NOW)
    assert (found, why) == (1, "moving down would not pay within the 10 steps that are left")
    assert climbed(near, 6).first(step(tokens=80_000), near, NOW)[0] == 0


def test_where_nothing_is_cached_there_is_nothing_to_forfeit() -> None:
    plan = ladder(1, 2, read=1.0)
    free = structs.replace(plan.members[0].steps[0][0].price, input_cache_write_5m=1_000_000)
    below = structs.replace(plan.members[0], steps=((structs.replace(plan.members[0].steps[0][0], price=free),),))
    plan = structs.replace(plan, members=(below, plan.members[1]))
    assert climbed(plan, 6).first(step(tokens=900_000), plan, NOW)[0] == 0


def test_a_run_that_was_away_for_long_has_nothing_to_forfeit() -> None:
    near = ladder(1, 2)
    assert climbed(near, 6).first(step(tokens=90_000), near, NOW + COLD_S)[0] == 1
    assert climbed(near, 6).first(step(tokens=90_000), near, NOW + COLD_S + 1)[0] == 0


def test_of_several_rungs_it_is_the_lowest_that_pays() -> None:
    """With so long a prompt the middle one does not save what its own cache costs; the lowest does."""
    plan = ladder(0.01, 9.9, 10)
    sticky = StickyRung()
    sticky.answered(step(), plan, 2, escalated=True, now=NOW)
    for _ in range(5):
        sticky.answered(step(), plan, 2, escalated=False, now=NOW)
    assert sticky.first(step(tokens=50_000), plan, NOW)[0] == 0


def test_down_in_vain_counts_as_a_switch() -> None:
    sticky = climbed(steps=6)
    assert sticky.first(step(), PLAN, NOW)[0] == 0
    sticky.answered(step(), PLAN, 1, escalated=True, now=NOW)
    for _ in range(STEPS_LEAST - 1):
        assert sticky.first(step(), PLAN, NOW)[0] == 1
        sticky.answered(step(), PLAN, 1, escalated=False, now=NOW)


def test_near_the_end_of_a_budget_every_step_begins_at_the_bottom() -> None:
    assert climbed().first(step(), structs.replace(PLAN, degraded=("cheaper",)), NOW) == (0, "")


def test_a_plan_that_has_lost_its_upper_rungs_is_not_climbed_above() -> None:
    short = structs.replace(PLAN, members=PLAN.members[:1])
    assert climbed().first(step(), short, NOW)[0] == 0


def test_without_prices_the_operators_order_counts() -> None:
    def free(plan: Plan) -> Plan:
        return structs.replace(plan, steps=((structs.replace(plan.steps[0][0], price=None),),))

    plan = structs.replace(PLAN, members=tuple(free(member) for member in PLAN.members))
    assert climbed(plan, 6).first(step(tokens=10**6), plan, NOW)[0] == 0


def test_an_agent_whose_runs_are_long_repays_more() -> None:
    near = ladder(1, 2)
    sticky = climbed(near, 6)
    assert sticky.first(step(tokens=90_000), near, NOW)[0] == 1
    for run in range(40):
        for _ in range(60):
            sticky.answered(step(f"long{run}"), near, 0, escalated=False, now=NOW)
    assert sticky.first(step(tokens=90_000), near, NOW)[0] == 0
    assert sticky._lengths.get("a").left(6) == 60 - 6
    assert sticky._lengths.get("b").left(1) == STEPS_USUAL + 1  # nobody was there: one too many is taken off
    assert sticky._lengths.get("a").left(10 * STEPS_MAX) == 0


def test_an_opening_may_begin_higher() -> None:
    class Middle:
        def open(self, call: Call, plan: Plan) -> tuple[int, str]:
            return 1, "so it was learnt"

    sticky = StickyRung(Middle())
    assert sticky.first(step(), PLAN, NOW) == (1, "so it was learnt")
    sticky.answered(step(), PLAN, 0, escalated=False, now=NOW)
    assert sticky.first(step(), PLAN, NOW)[0] == 0, "a run that has begun is not opened again"
    assert repr(sticky) == "StickyRung(1 runs)"


@given(st.lists(st.tuples(st.booleans(), st.integers(1_000, 200_000)), max_size=80), st.sampled_from([1.5, 3.0, 20.0]))
def test_it_never_flaps(steps: list[tuple[bool, int]], dearer: float) -> None:
    """Whatever answers are good enough: between a switch and the next move down there are five steps."""
    plan, sticky, at, switched = ladder(1, dearer), StickyRung(), 0, 0
    for number, (good, tokens) in enumerate(steps, start=1):
        first, _ = sticky.first(step(tokens=tokens), plan, NOW)
        if first < at:
            assert number - 1 - switched >= STEPS_LEAST
        answered = first if good else 1
        sticky.answered(step(tokens=tokens), plan, answered, escalated=answered > first, now=NOW)
        if answered != at or answered > first:
            at, switched = answered, number


@pytest.mark.parametrize("runs", [1, 5_000])
def test_lengths_fade_and_stay_bounded(runs: int) -> None:
    sticky = StickyRung()
    for run in range(runs):
        sticky.answered(step(f"r{run}"), PLAN, 0, escalated=False, now=NOW)
    assert sticky._lengths.get("a")._reached[1] <= 1_001
