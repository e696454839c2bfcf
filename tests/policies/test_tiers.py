"""Priorities: the higher tier first, the lower one never starved; and a crowd in which floods displace themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.tiers import PATIENCE, TIERS, Crowd, Tiers, lowered
from proxy.types import Priority

CRITICAL, INTERACTIVE, STANDARD, BATCH = range(4)


@pytest.mark.parametrize(
    ("own", "wished", "given"),
    [
        ("standard", None, "standard"),
        ("standard", "batch", "batch"),
        ("standard", "BATCH", "batch"),
        ("standard", "interactive", "standard"),
        ("critical", "interactive", "interactive"),
        ("batch", "critical", "batch"),
        ("interactive", "urgent", "interactive"),
        ("interactive", "", "interactive"),
    ],
)
def test_a_request_can_only_lower_its_priority(own: Priority, wished: str | None, given: Priority) -> None:
    assert lowered(own, wished) == given


def test_the_tiers_are_in_the_order_of_their_names() -> None:
    assert TIERS == {"critical": CRITICAL, "interactive": INTERACTIVE, "standard": STANDARD, "batch": BATCH}


def test_a_higher_tier_goes_first_and_agents_share_inside_of_it() -> None:
    tiers: Tiers[str] = Tiers()
    for ticket, tier in (("b1", BATCH), ("a1", STANDARD), ("a2", STANDARD), ("b2", STANDARD), ("c1", CRITICAL)):
        tiers.add(ticket, ticket[0], tier=tier)
    gone = []
    while len(tiers):
        gone.append(tiers.first())
        tiers.take(1.0).end(1.0)
    assert gone == ["c1", "a1", "b2", "a2", "b1"]
    assert tiers.idle


def test_who_is_passed_over_for_long_gets_a_place_however_many_are_more_urgent() -> None:
    tiers: Tiers[int] = Tiers()
    for number in range(200):
        tiers.add(number, "flood", tier=CRITICAL)
    for number in range(200, 210):
        tiers.add(number, "a", tier=STANDARD)
        tiers.add(number + 10, "b", tier=BATCH)
    gone = list[int]()
    while len(tiers):
        gone.append(tiers.first())
        tiers.take(1.0)
    assert gone[PATIENCE : PATIENCE + 2] == [200, 210], "the more urgent of those that are due comes first"
    last_batch = gone.index(219)
    assert last_batch <= 10 * (PATIENCE + 2)
    assert sum(number < 200 for number in gone[:last_batch]) >= 9 * PATIENCE


def test_a_tier_that_nobody_waits_in_is_not_due() -> None:
    tiers: Tiers[int] = Tiers()
    tiers.add(0, "a", tier=BATCH)
    for number in range(1, PATIENCE + 1):
        tiers.add(number, "flood", tier=CRITICAL)
        tiers.take(1.0)
    tiers.remove(0, "a", tier=BATCH)
    tiers.add(100, "flood", tier=CRITICAL)
    tiers.add(101, "a", tier=BATCH)
    assert tiers.first() == 100


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.booleans()), max_size=200))
def test_every_call_goes_once(steps: list[tuple[int, str, bool]]) -> None:
    tiers: Tiers[int] = Tiers()
    gone = list[int]()
    for number, (tier, agent, takes) in enumerate(steps):
        tiers.add(number, agent, tier=tier)
        if takes:
            gone.append(tiers.first())
            tiers.take(1.0).end(5.0)
    while len(tiers):
        gone.append(tiers.first())
        tiers.take(1.0).end(5.0)
    assert sorted(gone) == list(range(len(steps)))
    assert tiers.idle


# --- the crowd -------------------------------------------------------------------------------------------------------


def crowd(*agents: tuple[str, int]) -> Crowd[str]:
    """Tickets are numbered by their coming: `a0`, `b1`, ..."""
    made: Crowd[str] = Crowd()
    for number, (agent, tier) in enumerate(agents):
        made.add(f"{agent}{number}", agent, tier=tier)
    return made


@pytest.mark.parametrize(
    ("agents", "agent", "tier", "goes"),
    [
        ((), "a", STANDARD, None),
        ((("a", STANDARD), ("b", BATCH), ("c", BATCH), ("c", BATCH)), "a", STANDARD, "c3"),
        ((("a", STANDARD), ("b", BATCH)), "a", BATCH, None),
        ((("a", STANDARD), ("b", INTERACTIVE)), "c", BATCH, None),
        ((("a", STANDARD), ("a", STANDARD), ("a", STANDARD)), "b", STANDARD, "a2"),
        ((("a", STANDARD), ("a", STANDARD), ("a", STANDARD)), "a", STANDARD, None),
        ((("a", STANDARD), ("a", STANDARD), ("b", STANDARD)), "b", STANDARD, None),
        ((("a", STANDARD),), "b", STANDARD, None),
        ((("a", CRITICAL), ("a", CRITICAL)), "b", CRITICAL, "a1"),
    ],
)
def test_the_lowest_tier_gives_way_and_in_it_whoever_has_the_most(
    agents: tuple[tuple[str, int], ...], agent: str, tier: int, goes: str | None
) -> None:
    assert crowd(*agents).gives_way(agent, tier=tier) == goes


def test_who_has_left_gives_way_to_nobody() -> None:
    made = crowd(("a", BATCH), ("a", BATCH))
    made.remove("a1", "a", tier=BATCH)
    assert made.gives_way("b", tier=CRITICAL) == "a0"
    made.remove("a0", "a", tier=BATCH)
    assert (len(made), made.gives_way("b", tier=CRITICAL)) == (0, None)
    assert repr(made) == "Crowd([0, 0, 0, 0])"


def test_waiting_are_those_of_a_tier_and_of_the_ones_above() -> None:
    tiers: Tiers[int] = Tiers()
    for number, tier in enumerate((CRITICAL, STANDARD, STANDARD, BATCH)):
        tiers.add(number, "a", tier=tier)
    assert [tiers.waiting(tier) for tier in (CRITICAL, INTERACTIVE, STANDARD, BATCH)] == [1, 1, 3, 4]


def test_only_interactive_calls_are_turned_round() -> None:
    tiers: Tiers[str] = Tiers()
    for ticket, tier in (("i1", INTERACTIVE), ("i2", INTERACTIVE), ("s1", STANDARD), ("s2", STANDARD)):
        tiers.add(ticket, "a", tier=tier)
    tiers.turn_round(newest_first=True)
    assert [(tiers.first(), tiers.take(1.0))[0] for _ in range(4)] == ["i2", "i1", "s1", "s2"]
    tiers.turn_round(newest_first=False)
    for ticket in ("i1", "i2"):
        tiers.add(ticket, "a", tier=INTERACTIVE)
    assert tiers.first() == "i1"
