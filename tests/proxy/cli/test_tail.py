"""Calls as they end."""

from __future__ import annotations

import argparse
import json

import pytest
from msgspec.structs import replace

from proxy.cli import tail
from tests.proxy.cli.live_gate import frame, live_gate
from tests.proxy.cli.live_samples import SNAPSHOT, delta
from tests.proxy.cli.test_requests import ROW

FAILED = replace(ROW, request_id="bad", status=429, error_code="budget_exceeded", agent="writer", model="large")
SCRIPT = frame("snapshot", SNAPSHOT, "e-1") + frame(
    "delta", delta(1, calls=[FAILED, replace(ROW, request_id="good")], calls_left_out=7), "e-2"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "Flag", lambda: argparse.Namespace(wait=lambda seconds: None))


def ids(capsys: pytest.CaptureFixture[str], *typed: str) -> list[str]:
    parser = argparse.ArgumentParser()
    tail.register(parser.add_subparsers(dest="command"))
    with live_gate(SCRIPT) as gate:
        assert tail.tail(parser.parse_args(["tail", "--admin", gate.address, *typed])) == 1  # the gate is gone
    out, err = capsys.readouterr()
    assert "7 more calls in this second" in err
    return [line.split()[-1] for line in out.splitlines()]


def test_the_latest_come_first_and_then_each_as_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert ids(capsys) == ["early", "late", "good", "bad"]
    assert ids(capsys, "--lines", "1") == ["late", "good", "bad"]
    assert ids(capsys, "--lines", "0") == ["good", "bad"]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (("--agent", "writer"), ["early", "bad"]),
        (("--route", "large"), ["bad"]),
        (("--errors",), ["bad"]),
        (("--errors", "--agent", "planner"), []),
    ],
)
def test_filters_must_all_fit(capsys: pytest.CaptureFixture[str], typed: tuple[str, ...], wanted: list[str]) -> None:
    assert ids(capsys, *typed) == wanted


def test_a_line_says_who_what_how_long_and_how_it_ended() -> None:
    words = tail.line(FAILED).split()
    assert words[:4] == ["13:40:50.201", "writer", "large", "up/small"]
    assert words[4:] == ["0.25s", "1.50s", "11", "4", "$0.000004", "hedge", "429", "budget_exceeded", "bad"]


def test_as_json_a_call_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    tail.register(parser.add_subparsers(dest="command"))
    with live_gate(SCRIPT) as gate:
        tail.tail(parser.parse_args(["tail", "--admin", gate.address, "--json"]))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["request_id"] for line in lines] == ["early", "late", "good", "bad"]
    assert lines[-1]["error_code"] == "budget_exceeded"


@pytest.mark.parametrize("count", ["-1", "51", "x"])
def test_so_many_lines_as_the_feed_keeps(count: str) -> None:
    with pytest.raises((ValueError, argparse.ArgumentTypeError)):
        tail._count(count)
