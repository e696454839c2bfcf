from __future__ import annotations

import argparse

import pytest

from docs import generate
from proxy.cli import ledger


@pytest.mark.parametrize(
    ("typed", "settings"),
    [
        (["verify", "--data-dir", "d", "--expect", "h"], {"expect": "h", "json": False}),
        (["export", "--since", "1d", "--format", "csv"], {"since": "1d", "format": "csv", "output": None}),
        (["reconcile", "b.csv", "--provider", "p", "--adjust"], {"provider": "p", "adjust": True, "release": False}),
    ],
)
def test_what_is_typed_is_understood(typed: list[str], settings: dict[str, object]) -> None:
    parser = argparse.ArgumentParser()
    ledger.register(parser.add_subparsers(dest="command"))
    chosen = vars(parser.parse_args(["ledger", *typed]))
    assert {name: chosen[name] for name in settings} == settings


@pytest.mark.parametrize("typed", [[], ["prune"], ["reconcile"], ["export", "--format", "xml"]])
def test_wrong_usage_ends_with_2(typed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    ledger.register(parser.add_subparsers(dest="command"))
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["ledger", *typed])
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_every_action_has_its_own_help() -> None:
    assert {"headgate ledger verify", "headgate ledger export", "headgate ledger reconcile"} <= set(generate.commands())
