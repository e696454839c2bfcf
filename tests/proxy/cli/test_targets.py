"""The table of targets, as people see it."""

from __future__ import annotations

import argparse
import io

from msgspec.structs import replace

from proxy.cli import targets
from proxy.cli.table import Page
from proxy.state.gate_report import GateRow
from proxy.state.target_report import TargetRow
from tests.proxy.state.test_target_report import OUT, WELL

PAGE = Page(io.StringIO())


def row(health: object, id: str = "up/m") -> TargetRow:
    provider, _, model = id.partition("/")
    return TargetRow(id, provider, model, None, health)  # type: ignore[arg-type]  # each of the tests is one


def lines(*rows: TargetRow) -> list[str]:
    return list(targets._lines(list(rows), PAGE))


def test_a_target_that_is_well_is_one_row_and_no_more_words() -> None:
    head, shown = lines(row(WELL))
    assert " ".join(head.split()) == "target state calls bad running at most first token reply prompt tokens/s"
    assert shown.split() == ["up/m", "closed", "30", "0%", "2", "8", "0.20s", "-", "4000"]


def test_one_that_is_out_says_why_and_until_when() -> None:
    out = replace(OUT, retry_s=4.04)
    *_, words = lines(row(WELL, "up/n"), row(out))
    assert words == "up/m: too many failures in a row (last: upstream_error); next trial in 4.0 s"
    assert lines(row(replace(out, retry_s=0.0)))[-1].endswith("; the next call that fits is its trial")


def test_of_several_processes_it_says_in_how_many() -> None:
    assert "too many failures in a row, in 1 of 3 processes (last:" in lines(row(replace(OUT, out_of=(1, 3))))[-1]


def test_one_that_nobody_has_asked_and_a_wildcard_show_dashes() -> None:
    new = replace(WELL, calls=0, in_flight=0, concurrency=None, first_token_s=None, prompt_tokens_a_second=None)
    shown, wild = lines(row(new), row(None, "up/*"))[1:]
    assert shown.split() == ["up/m", "closed", "0", "-", "0", "-", "-", "-", "-"]
    assert wild.split() == ["up/*", *"--------"]


def test_gates_are_a_table_of_their_own_where_there_are_any() -> None:
    known = GateRow("qwen", "tokens", 7, 910_000.4, 1_080_000.0, 0.9, 0.912, waiting=3, parked=1, calls=5)
    counted = GateRow("small", "runs", 2, 2.0, 32.0, None, None, waiting=0, parked=0, calls=0)
    blank, head, first, second = targets._gates([known, counted], PAGE)
    assert blank == ""
    assert " ".join(head.split()) == "pool active runs waiting parked calls held in use limit of memory from cache"
    assert first.split() == ["qwen", "7", "3", "1", "5", "910000", "tokens", "1080000", "0.90", "91%"]
    assert second.split() == ["small", "2", "0", "0", "0", "2", "runs", "32", "-", "-"]
    assert list(targets._gates([], PAGE)) == []


def test_the_command_asks_for_nothing_but_a_connection() -> None:
    parser = argparse.ArgumentParser()
    targets.register(parser.add_subparsers(dest="command"))
    chosen = parser.parse_args(["targets", "--json"])
    assert (chosen.command, chosen.json) == ("targets", True)
