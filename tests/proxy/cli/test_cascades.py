"""What people read of cheap rungs, and what they may ask to forget."""

from __future__ import annotations

import argparse
import io

import pytest

from policies.conformal import Heard, Standings
from proxy.cli import cascades
from proxy.cli.asking import Refusal
from proxy.cli.table import Page
from tests.known import STANDINGS

PAGE = Page(io.StringIO())


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cascades.register(parser.add_subparsers(dest="command"))
    return parser.parse_args(["cascades", *arguments])


def test_each_rung_is_a_line() -> None:
    head, writer, coder = list(cascades._shown(STANDINGS, PAGE))
    assert head.split()[:5] == ["agent", "model", "rung", "labels", "worse"]
    assert writer.split()[:9] == ["writer", "smart", "0", "120", "2", "4.1%", "5.0%", "60%", "0.83"]
    assert coder.split() == ["coder", "smart", "0", "12", "6", "70.0%", "5.0%", "0%", "withdrawn"]
    assert list(cascades._shown(Standings([]), PAGE)) == ["no cheap answer was compared yet"]


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        ((), None),
        (("show", "--json"), None),
        (("reset", "--agent", "a", "--model", "m"), {"agent": "a", "model": "m"}),
        (("reset", "--all"), {"all": True}),
    ],
)
def test_what_it_orders(arguments: tuple[str, ...], order: dict[str, object] | None) -> None:
    assert cascades._order(parsed(*arguments)) == order


@pytest.mark.parametrize("arguments", [("reset",), ("reset", "--all", "--agent", "a"), ("--agent", "a"), ("--all",)])
def test_what_could_be_meant_otherwise_is_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Refusal):
        cascades._order(parsed(*arguments))
    assert cascades.cascades(parsed(*arguments)) == 2
    assert "headgate: " in capsys.readouterr().err


def test_it_says_how_many_are_forgotten() -> None:
    assert list(cascades._forgotten(Heard(rungs=1), PAGE)) == ["forgotten: 1 rung"]
    assert list(cascades._forgotten(Heard(rungs=3), PAGE)) == ["forgotten: 3 rungs"]
