"""What people read of batches, and what they may ask to end."""

from __future__ import annotations

import argparse
import io

import pytest
from msgspec.structs import replace

from proxy.cli import batches
from proxy.cli.table import Page
from proxy.state.batch_report import BatchReport
from tests.known import BATCH

PAGE = Page(io.StringIO())


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    batches.register(parser.add_subparsers(dest="command"))
    return parser.parse_args(["batches", *arguments])


def test_a_list_says_how_far_they_are() -> None:
    row = replace(BATCH, status="in_progress", total=10, completed=6, failed=1, run=None)
    head, line, more = list(batches._listed(BatchReport((row,), more=True), PAGE))
    assert head.split() == list(batches.HEAD)
    assert line.split() == ["batch_1", "nightly", "/v1/chat/completions", "in_progress", "10", "6", "1"]
    assert more == "older ones: --before batch_1"


def test_one_says_what_was_wrong_and_where_its_files_are() -> None:
    _, line, source, problem = list(batches._shown(BATCH, PAGE))
    assert "failed" in line
    assert source == "input   file-1"
    assert problem == "line 2: This line is not valid JSON."


@pytest.mark.parametrize("arguments", [("show",), ("cancel",)])
def test_an_order_without_an_id_is_refused(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert batches.batches(parsed(*arguments)) == 2
    assert "need the id" in capsys.readouterr().err
