"""What people read of known answers, and what they may ask to forget."""

from __future__ import annotations

import argparse
import io

import pytest
from msgspec.structs import replace

from proxy.cli import caches
from proxy.cli.asking import Refusal
from proxy.cli.table import Page
from proxy.state.cache_report import Purged
from tests.known import REPORT

PAGE = Page(io.StringIO())


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    caches.register(parser.add_subparsers(dest="command"))
    return parser.parse_args(["caches", *arguments])


def test_it_shows_what_each_has_saved_and_what_is_kept() -> None:
    head, exact, join, memory, replies, replays = list(caches._shown(REPORT, PAGE))
    assert head.split()[:3] == ["cache", "hits", "stale"]
    assert exact.split() == ["exact", "3", "4", "$0.250000", "1200"]
    assert join.split()[:2] == ["join", "2"]
    assert memory.endswith("2 answers, 3.0 MiB; 1 had to make room")
    assert replies.endswith("5 answers, 1.0 MiB: exact answers")
    assert replays.endswith("1 answer, 0.0 MiB: answers for replays")
    assert list(caches._shown(replace(REPORT, disk_failures=3), PAGE))[-1].startswith("the disk failed 3 times")


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        ((), None),
        (("show", "--json"), None),
        (("purge", "--agent", "a", "--model", "m"), {"agent": "a", "model": "m"}),
        (("purge", "--key", "k"), {"key": "k"}),
        (("purge", "--all"), {"all": True}),
    ],
)
def test_what_it_orders(arguments: tuple[str, ...], order: dict[str, object] | None) -> None:
    assert caches._order(parsed(*arguments)) == order


@pytest.mark.parametrize("arguments", [("purge",), ("purge", "--all", "--agent", "a"), ("--agent", "a"), ("--all",)])
def test_what_could_be_meant_otherwise_is_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Refusal):
        caches._order(parsed(*arguments))
    assert caches.caches(parsed(*arguments)) == 2
    assert "headgate: " in capsys.readouterr().err


def test_it_says_how_many_are_gone() -> None:
    assert list(caches._purged(Purged(1, 2), PAGE)) == ["gone: 1 answer in memory, 2 answers on the disk"]
