"""What people read of experiments, and what they may ask for."""

from __future__ import annotations

import argparse
import io

import pytest

from policies.experiment_report import Reports
from proxy.cli import experiments
from proxy.cli.experiments import Begun
from proxy.cli.table import Page
from tests.known import EXPERIMENT

PAGE = Page(io.StringIO())


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    experiments.register(parser.add_subparsers(dest="command"))
    return parser.parse_args(["experiments", *arguments, "--admin", "http://127.0.0.1:1"])


def test_each_measure_is_a_line_and_words_end_it() -> None:
    title, since, head, cost, duration, escalated, matched, conclusion = experiments._one(EXPERIMENT, PAGE)
    assert title == "smart-test: control large, candidate smart, which answers 20% of the runs"
    assert since == "since 2026-11-20T08:00:00.000Z, the latest calls alone"
    assert head.split()[:4] == ["measure", "control", "candidate", "difference"]
    assert cost.split("  ")[0] == "cost (USD)"
    assert "0.012300 of 400 in 40" in cost
    assert "-0.007800" in cost
    assert "-0.009700 to -0.005900" in cost
    assert cost.endswith("lower")
    assert "2.500 (p50 2.25, p95 9.00) of 390 in 40" in duration
    assert duration.split()[-4:] == ["-", "-", "too", "few"]
    assert escalated.split()[:2] == ["escalated", "(share)"]
    assert "2.74 times as many for the same money (2.10 to 3.50, any look)" in matched
    assert conclusion == EXPERIMENT.conclusion


def test_several_are_parted_and_none_is_said() -> None:
    lines = list(experiments._shown(Reports([EXPERIMENT, EXPERIMENT]), PAGE))
    assert lines.count("") == 1
    assert list(experiments._shown(Reports([]), PAGE)) == ["no experiment is configured"]
    assert list(experiments._begun(Begun("x"), PAGE)) == ["x begins anew"]


@pytest.mark.parametrize(
    ("arguments", "path", "order"),
    [
        ((), "/experiments", None),
        (("show",), "/experiments", None),
        (("show", "a/b"), "/experiments/a%2Fb", None),
        (("reset", "x"), "/experiments/x/reset", {}),
    ],
)
def test_what_it_asks(arguments: tuple[str, ...], path: str, order: object, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, object]] = []

    def report(args: argparse.Namespace, target: str, shape: object, *, lines: object, order: object = None) -> int:
        asked.append((target, order))
        return 0

    monkeypatch.setattr(experiments, "report", report)
    assert experiments.experiments(parsed(*arguments)) == 0
    assert asked == [(path, order)]


def test_a_reset_names_what(capsys: pytest.CaptureFixture[str]) -> None:
    assert experiments.experiments(parsed("reset")) == 2
    assert "which experiment?" in capsys.readouterr().err
