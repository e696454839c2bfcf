"""Units stay in their arms, and as many of them are the candidate's as was asked for."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies.experiment import Experiment, Sample, Unit
from proxy.types import Call, Identity
from tests.build import call

SPLIT = Experiment("x", 0.2)


def of(run: str | None = None, *, agent: str = "a", key: str = "k", id: str = "c0ffee", cause: str = "") -> Call:
    made = call(identity=Identity(key_id=key, agent=agent, run=run))
    return structs.replace(made, id=id, cause=cause)


def arm(experiment: Experiment, called: Call) -> str | None:
    found = experiment.assign(called)
    return None if found is None else found.name


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_the_candidate_gets_its_share_of_the_runs(share: float) -> None:
    arms = [arm(structs.replace(SPLIT, share=share), of(f"run-{number}")) for number in range(10_000)]
    assert arms.count("candidate") / len(arms) == pytest.approx(share, abs=0.015)  # three standard errors at most
    assert set(arms) == {"control", "candidate"}


def test_the_whole_share_is_everybody() -> None:
    assert {arm(structs.replace(SPLIT, share=1.0), of(f"r{number}")) for number in range(1_000)} == {"candidate"}


def test_the_arm_of_a_run_is_written_down_nowhere_and_is_the_same_tomorrow() -> None:
    """Known answers: were they others, every running experiment would begin anew with the next version."""
    assert SPLIT.assign(of("r1")) == SPLIT.assign(of("r1", id="another", agent="another"))
    assert [number for number in range(30) if arm(SPLIT, of(f"r{number}")) == "candidate"] == [2, 3, 6, 7, 9, 10, 17]


def test_the_keys_of_a_team_have_one_run_and_other_tenants_draw_for_themselves() -> None:
    half = structs.replace(SPLIT, share=0.5)

    def arms(key: str, team: str | None) -> list[str | None]:
        calls = [of(f"r{number}", key=key) for number in range(100)]
        who = [structs.replace(each.identity, team=team) for each in calls]
        return [arm(half, structs.replace(one, identity=by)) for one, by in zip(calls, who, strict=True)]

    assert arms("k", "red") == arms("j", "red")
    assert len({tuple(arms("red", team)) for team in (None, "red", "blue")}) == 3


def test_a_larger_share_takes_nobody_out_of_the_candidates_arm() -> None:
    runs = [of(f"r{number}") for number in range(500)]
    few = {each.identity.run for each in runs if arm(SPLIT, each) == "candidate"}
    more = {each.identity.run for each in runs if arm(structs.replace(SPLIT, share=0.4), each) == "candidate"}
    assert few < more


def test_each_experiment_draws_anew() -> None:
    runs = [of(f"r{number}") for number in range(2_000)]
    one, other = structs.replace(SPLIT, share=0.5), Experiment("y", 0.5)
    both = sum(arm(one, each) == arm(other, each) for each in runs)
    assert both / len(runs) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("unit", "one", "other", "same"),
    [
        ("run", of("r", id="1"), of("r", id="2"), True),
        ("run", of("r"), of("r", key="another"), False),  # two tenants name their runs as they like
        ("run", of("r"), of("q"), False),
        ("run", of(id="1"), of(id="2"), False),  # without a run a call stands for itself
        ("agent", of("r", id="1"), of("q", id="2"), True),
        ("agent", of("r"), of("r", agent="b"), False),
        ("call", of("r", id="1"), of("r", id="2"), False),
        ("call", of("r", id="1"), of("r", id="2", cause="1"), True),  # what the gate asks because of it
    ],
)
def test_what_is_one_unit(unit: Unit, one: Call, other: Call, same: bool) -> None:
    experiment = structs.replace(SPLIT, unit=unit)
    first, second = experiment.assign(one), experiment.assign(other)
    assert first is not None
    assert second is not None
    assert (first.unit == second.unit) is same


def test_parts_of_a_name_do_not_run_together() -> None:
    one, other = SPLIT.assign(of("b", key="a")), SPLIT.assign(of("", key="ab"))
    assert one is not None
    assert other is not None
    assert one.unit != other.unit


def test_a_shadow_is_answered_by_the_control_and_the_rest_is_not_looked_at() -> None:
    shadow = structs.replace(SPLIT, mode="shadow")
    found = [shadow.assign(of(f"r{number}")) for number in range(1_000)]
    seen = [each for each in found if each is not None]
    assert len(seen) / len(found) == pytest.approx(0.2, abs=0.04)
    assert all(each.name == "control" and each.shadowed for each in seen)


def test_a_sample_says_nothing_by_itself() -> None:
    assert Sample("control", "u") == Sample("control", "u", 0, 0, None, None, None, escalated=False, score=None)
