"""What is said of an experiment is true of it, and where there is no difference none is found."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from msgspec import structs

from policies.experiment import Sample
from policies.experiment_report import MEASURES, Design, MeasureName, Report, Row, Side, report
from proxy.observed import ArmName

DESIGN = Design("x", "large", "smart", "split", "run", 0.5)


def runs(
    seed: int, count: int, *, cheaper: float = 0.0, worse: float = 0.0, share: float = 0.5, scored: bool = True
) -> Iterator[Sample]:
    """Runs of 1 to 10 calls that differ in what a call costs and in how hard they are. `cheaper`, `worse`: the
    candidate's calls, by these shares."""
    rng = Random(seed)
    for run in range(count):
        arm: ArmName = "candidate" if rng.random() < share else "control"
        is_candidate = arm == "candidate"
        size, skill = rng.lognormvariate(0, 0.5), min(1.0, max(0.0, rng.gauss(0.8, 0.15))) - worse * is_candidate
        for _ in range(rng.randint(1, 10)):
            length_s = size * rng.lognormvariate(0, 0.3)
            yield Sample(
                arm,
                str(run),
                calls=1,
                usd_nanos=int(1e6 * length_s * (1 - cheaper * is_candidate)),
                duration_s=length_s,
                first_event_s=0.1,
                answered=rng.random() < 0.98,
                score=float(rng.random() < skill) if scored else None,
            )


def row(found: Report, name: MeasureName) -> Row:
    return next(each for each in found.rows if each.measure == name)


def test_of_the_same_model_twice_nothing_is_found() -> None:
    """Every verdict of 60 experiments; at least 93 of 100 have to be right."""
    verdicts = [row.verdict for seed in range(60) for row in report(DESIGN, runs(seed, 150, share=0.3)).rows]
    right = [verdict for verdict in verdicts if verdict in ("no difference shown", "too few")]
    assert len(right) / len(verdicts) > 0.98
    assert verdicts.count("too few") < len(verdicts) / 10


def test_a_cheaper_candidate_that_is_as_good_is_the_better_choice() -> None:
    found = report(DESIGN, runs(1, 3_000, cheaper=0.5))
    cost, good = row(found, "cost_usd"), row(found, "quality")
    assert (cost.verdict, good.verdict) == ("lower", "no difference shown")
    assert cost.control.value is not None
    assert cost.difference == pytest.approx(-0.5 * cost.control.value, rel=0.25)
    assert found.matched is not None
    assert (found.matched.verdict, found.matched.good) == ("higher", "quality")
    assert found.matched.ever[0] < 2.0 < found.matched.ever[1]
    assert "% less, and no difference in how often its answers are good was found (less often by " in found.conclusion
    assert " times the good answers (" in found.conclusion
    assert found.conclusion.endswith("It is the better choice.")


@pytest.mark.parametrize(
    ("cheaper", "worse", "end"),
    [
        (0.0, 0.0, "No difference is shown."),
        (0.6, 0.3, "It is a trade: a gain at equal cost is shown."),
        (0.3, 0.4, "It is a trade: no gain at equal cost is shown."),
        (-0.6, 0.0, "It is the worse choice."),
        (-0.6, -0.18, "It is a trade: no gain at equal cost is shown."),
        (0.0, 0.4, "It is the worse choice."),
        (0.0, -0.2, "It is the better choice."),
    ],
)
def test_the_conclusion_follows_from_cost_and_quality(cheaper: float, worse: float, end: str) -> None:
    found = report(DESIGN, runs(3, 1_500, cheaper=cheaper, worse=worse))
    assert found.conclusion.endswith(end), found.conclusion


def test_a_cheaper_candidate_has_to_be_known_as_nearly_as_good() -> None:
    found = report(DESIGN, runs(1, 300, cheaper=0.5))
    assert row(found, "quality").verdict == "no difference shown"
    assert found.conclusion.endswith("Go on until its answers are known to be worse by 5 points at most.")


def test_before_thirty_units_nothing_is_said() -> None:
    found = report(DESIGN, runs(1, 40, cheaper=0.9))
    assert {each.verdict for each in found.rows} == {"too few"}
    assert found.matched is None
    assert found.conclusion.startswith("too early to tell: ")
    assert found.conclusion.endswith("of 30 runs in the smaller arm")


def test_without_scores_good_is_answered() -> None:
    found = report(DESIGN, runs(1, 500, scored=False))
    assert found.matched is not None
    assert found.matched.good == "answered"
    assert "; for the same money it gives " in found.conclusion
    assert " times the answers (" in found.conclusion, "nobody has said that they are good"
    assert ", and no difference in answering was found; " in found.conclusion
    assert found.conclusion.endswith("How good the answers are nobody has said.")
    assert row(found, "quality") == Row("quality", Side(), Side())


def test_of_nothing_there_is_a_report() -> None:
    found = report(DESIGN, [])
    assert [each.measure for each in found.rows] == [each.name for each in MEASURES if each.name != "escalated"]
    assert all(each.difference is None for each in found.rows)
    assert found.conclusion == "too early to tell: 0 of 30 runs in the smaller arm"


def test_steps_of_a_cascade_are_shown_where_there_are_any() -> None:
    plain = list(runs(1, 200))
    assert "escalated" not in {each.measure for each in report(DESIGN, plain).rows}
    some = report(DESIGN, [structs.replace(each, escalated=each.arm == "candidate") for each in plain])
    assert row(some, "escalated").verdict == "higher"


def test_of_one_unit_in_an_arm_the_difference_is_said_and_no_interval() -> None:
    one = [Sample("control", "u", 1, 5), Sample("candidate", "v", 1, 7), Sample("candidate", "w", 1, 9)]
    (cost, *_) = report(DESIGN, one).rows
    assert cost.difference == pytest.approx(3e-9)
    assert (cost.once, cost.ever, cost.verdict) == (None, None, "too few")


def test_money_that_was_spent_beside_a_call_is_no_call() -> None:
    samples = [Sample("control", "u", 1, 1_000_000_000), Sample("control", "u", usd_nanos=500_000_000)]
    (cost, *others) = report(DESIGN, samples).rows
    assert (cost.control.value, cost.control.calls, cost.control.units) == (1.5, 1, 1)
    assert all(other.control.calls == 0 for other in others)


def test_a_call_without_a_price_is_left_out_of_the_cost_alone() -> None:
    samples = [Sample("control", "u", 1, None, answered=True), Sample("control", "u", 1, 2_000_000_000, answered=True)]
    found = report(DESIGN, samples)
    assert row(found, "cost_usd").control.value == 2.0
    assert row(found, "answered").control.calls == 2


def test_times_have_their_middle_and_their_tail() -> None:
    samples = [Sample("control", str(at), 1, 0, duration_s=float(at), answered=True) for at in range(100)]
    side = row(report(DESIGN, samples), "duration_s").control
    assert (side.p50, side.p95, side.value) == (50.0, 95.0, 49.5)


def test_in_a_shadow_pairs_are_compared() -> None:
    """The spread of the questions, which both arms share, hides nothing."""
    rng, samples = Random(4), list[Sample]()
    for number in range(60):
        hard = rng.lognormvariate(0, 1)
        samples.append(Sample("control", str(number), 1, int(1e9 * hard), answered=True, score=1.0))
        samples.append(
            Sample("candidate", str(number), 1, int(0.8e9 * hard * rng.uniform(0.9, 1.1)), answered=True, score=1.0)
        )
    assert row(report(DESIGN, samples), "cost_usd").verdict == "lower"
    apart = [structs.replace(each, unit=f"{each.arm} {each.unit}") for each in samples]
    assert row(report(DESIGN, apart), "cost_usd").verdict == "no difference shown"
