"""An experiment stands for two other models and has nothing of its own."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from policies.experiment import Experiment
from policies.experiment_report import Design
from proxy.config.check import references, write_out
from proxy.config.experiments import Experimenting
from proxy.config.models import Model
from proxy.config.tree import Value

ARMS = {"control": "a", "candidate": "b"}


def test_what_is_left_out_is_half_of_the_runs() -> None:
    made = Experimenting.model_validate(ARMS)
    assert made.rules("x") == Experiment("x", 0.5, "run", "split", 5 * 10**9)
    assert made.design("x") == Design("x", "a", "b", "split", "run", 0.5)


@pytest.mark.parametrize(
    "values",
    [
        {"control": "a"},
        {**ARMS, "share": 0},
        {**ARMS, "share": 1.5},
        {**ARMS, "unit": "user"},
        {**ARMS, "mode": "canary"},
        {**ARMS, "shadow_budget": "much"},
        {**ARMS, "third": "c"},
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Experimenting.model_validate(values)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"targets": [{"provider": "p", "model": "m"}]}, "targets"),
        ({"mode": "cascade", "steps": ["a", "b"]}, "mode"),
        ({"fallbacks": {"any": ["a"]}}, "fallbacks"),
        ({"cheaper": "a"}, "cheaper"),
    ],
)
def test_the_rest_belongs_to_its_two_models(more: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=f"an experiment has no {word}: its two models have their own"):
        Model.model_validate({"experiment": ARMS, **more})
    assert Model.model_validate({"experiment": ARMS}).together == ()


def found(**models: Value) -> list[tuple[str, str]]:
    alone: dict[str, Value] = {"a": "sim/a", "b": "sim/b", "open/*": {"targets": ["sim/*"]}}
    values: dict[str, Value] = {"providers": {"sim": {"kind": "simulated"}}, "models": {**alone, **models}}
    write_out(values, {})
    return [(".".join(map(str, problem.path[1:])), problem.message) for problem in references(values)]


@pytest.mark.parametrize(
    ("control", "candidate", "at", "message"),
    [
        ("a", "bb", "x.experiment.candidate", "it must name another model, without `*`; did you mean 'b'?"),
        ("x", "b", "x.experiment.control", "it must name another model, without `*`"),
        ("open/*", "b", "x.experiment.control", "it must name another model, without `*`"),
        ("a", "a", "x.experiment.candidate", "the control is the same model"),
        ("a", "y", "x.experiment.candidate", "it must name a model that is no experiment itself"),
    ],
)
def test_its_models_are_two_others(control: str, candidate: str, at: str, message: str) -> None:
    other: Value = {"experiment": {"control": "a", "candidate": "b"}}
    problems = found(x={"experiment": {"control": control, "candidate": candidate}}, y=other)
    ((place, said),) = problems
    assert place == at
    assert said.startswith(message)


def test_it_has_one_name() -> None:
    wild: dict[str, Value] = {"x*": {"experiment": {"control": "a", "candidate": "b"}}}
    ((place, said),) = found(**wild)
    assert (place, said) == ("x*.experiment", "an experiment has a name without `*`")


def test_nobody_is_made_of_an_experiment() -> None:
    x: Value = {"experiment": {"control": "a", "candidate": "b"}}
    cascade: Value = {"mode": "cascade", "steps": ["a", "x"], "judge": {"model": "x", "rubric": "r"}}
    problems = found(x=x, c=cascade)
    assert [place for place, _ in problems] == ["c.steps.1", "c.judge.model"]
    assert {said for _, said in problems} == {"it must name a model that answers alone"}
