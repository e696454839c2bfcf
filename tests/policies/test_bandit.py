"""Where calls begin is learnt by kind: more right answers at the same cost, and no more dear calls than allowed."""

from __future__ import annotations

from random import Random

import pytest
from msgspec import structs

from policies.bandit import Bandit, Learnt
from policies.conformal import Label
from proxy.types import Plan
from tests.build import PRICE, call, target

COSTS = (0.05, 1.0)
# Weak and strong: where the strong one is worth its price, and where it is not.
KINDS = {"easy": (0.95, 0.96), "hard": (0.30, 0.85), "odd": (0.80, 0.70), "even": (0.60, 0.75)}


def label(rung: int, *, right: bool, kind: str = "easy", agent: str = "a") -> Label:
    return Label(agent, "smart", rung, 1.0, right, kind=kind)


def worked(bandit: Bandit, rng: Random, calls: int, share: float) -> tuple[float, float, dict[str, float]]:
    """Right answers, dear calls, and the latter by kind."""
    right, dear = 0, {kind: [0, 0] for kind in KINDS}
    for _ in range(calls):
        kind = rng.choice(list(KINDS))
        rung = bandit.choose("a", "smart", kind, costs=COSTS, share=share)
        well = rng.random() < KINDS[kind][rung]
        bandit.learn(label(rung, right=well, kind=kind), 2)
        right += well
        dear[kind][rung] += 1
    shares = {kind: ones / max(1, ones + none) for kind, (none, ones) in dear.items()}
    return right / calls, sum(ones for _, ones in dear.values()) / calls, shares


@pytest.mark.parametrize("seed", range(3))
def test_at_the_same_cost_it_beats_chance(seed: int) -> None:
    right, dear, shares = worked(Bandit(Random(seed)), Random(100 + seed), 4_000, 0.5)
    chance = sum(weak + strong for weak, strong in KINDS.values()) / 2 / len(KINDS)
    assert 0.45 < dear < 0.52
    assert right > chance + 0.04
    assert shares["hard"] > 0.9 > 0.2 > shares["odd"]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.8])
def test_no_more_dear_calls_than_allowed(share: float) -> None:
    _, dear, _ = worked(Bandit(Random(1)), Random(2), 3_000, share)
    assert dear < share + 0.02


def test_a_share_that_was_not_needed_is_kept_for_a_while_and_no_longer() -> None:
    bandit, rng = Bandit(Random(1)), Random(2)

    def dear(kind: str, calls: int) -> int:
        found = 0
        for _ in range(calls):
            rung = bandit.choose("a", "smart", kind, costs=COSTS, share=0.5)
            bandit.learn(label(rung, right=rng.random() < KINDS[kind][rung], kind=kind), 2)
            found += rung
        return found

    for _ in range(3):
        easy = dear("odd", 3_000)
        assert easy < 300
        hard = dear("hard", 3_000)
        assert 1_500 + 150 < hard < 1_500 + 450


def test_a_kind_that_was_never_seen_begins_at_what_others_have_shown() -> None:
    bandit = Bandit(Random(1))
    for _ in range(300):
        bandit.learn(label(0, right=True), 2)
        bandit.learn(label(1, right=False), 2)
    chosen = [bandit.choose("a", "smart", f"new{at}", costs=COSTS, share=0.5) for at in range(100)]
    assert sum(chosen) < 20


def test_before_anything_was_seen_the_ladder_counts() -> None:
    """Dearer is better, as long as nothing else is known and cost has no price yet."""
    first = [Bandit(Random(seed)).choose("a", "smart", "x", costs=(1, 2, 3), share=1.0) for seed in range(200)]
    assert first.count(2) > first.count(1) > first.count(0)


def test_what_changes_is_learnt_again() -> None:
    bandit, rng = Bandit(Random(1)), Random(2)
    for kinds in ((0.2, 0.9), (0.9, 0.2)):
        dear = 0
        for at in range(4_000):
            rung = bandit.choose("a", "smart", "x", costs=COSTS, share=1.0)
            bandit.learn(label(rung, right=rng.random() < kinds[rung], kind="x"), 2)
            dear += rung if at >= 3_000 else 0
        assert dear > 900 if kinds[1] > kinds[0] else dear < 100


def test_agents_learn_apart_and_can_be_reset() -> None:
    bandit = Bandit(Random(1))
    for agent in ("a", "b"):
        for _ in range(200):
            bandit.learn(label(0, right=False, agent=agent), 2)
            bandit.learn(label(1, right=True, agent=agent), 2)
    bandit.reset("a", None)
    assert repr(bandit) == "Bandit(1 kinds)"
    known = [bandit.choose("b", "smart", "easy", costs=COSTS, share=1.0) for _ in range(50)]
    assert sum(known) == 50
    bandit.reset(None, "smart")
    assert repr(bandit) == "Bandit(0 kinds)"


def test_only_cascades_that_were_told_to_learn_do() -> None:
    dear = structs.replace(PRICE, output=10 * PRICE.output)
    members = tuple(
        Plan("single", ((target(f"p/{name}", price=price),),), "") for name, price in (("s", PRICE), ("l", dear))
    )
    plan = Plan("cascade", members[0].steps, "", members=members, model="smart")
    bandit, shares = Bandit(Random(1)), dict[str, float]()
    opening = Learnt(bandit, lambda: shares)
    assert [opening.open(call(), plan) for _ in range(30)] == [(0, "")] * 30
    shares["smart"] = 0.9
    opened = [opening.open(call(), plan) for _ in range(30)]
    assert (1, "learnt of calls like it (7 text latin)") in opened
    assert repr(opening) == "Learnt(Bandit(1 kinds))"
