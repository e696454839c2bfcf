"""`headgate ledger export`: every attempt and every known answer in one line, exact to the nano-dollar."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from proxy.cli.ledger_export import NAMES
from tests.proxy.cli.terminal import Gate, run
from tests.proxy.state.samples import attempt, call, outcome, refused

DONE = (
    outcome(call("one", agent='a,"b'), attempt(cost=1_234_567_891)),
    refused(call("none")),
    outcome(call("two"), attempt("p/m", cost=None), attempt("q/m", number=2)),
)


async def test_json_lines_have_one_attempt_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await Gate(tmp_path, *DONE).run("export") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["request_id"], row["number"], row["cost_usd"]) for row in rows] == [
        ("one", 1, "1.234567891"),
        ("two", 1, None),
        ("two", 2, "0.000001"),
    ]
    assert tuple(rows[0]) == NAMES


async def test_a_table_has_the_same_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await Gate(tmp_path, *DONE).run("export", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["agent"], row["cost_usd"], row["held_usd"], row["run"]) for row in rows] == [
        ('a,"b', "1.234567891", "0.000005", ""),
        ("a", "", "0.000005", ""),
        ("a", "0.000001", "0.000005", ""),
    ]


async def test_a_known_answer_has_a_line_at_no_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = (replace(outcome(call(by)), served_by=by, attempts=()) for by in ("cache", "join", "best"))
    assert await Gate(tmp_path, *DONE, *given).run("export", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["request_id"], row["served_by"], row["number"], row["cost_usd"]) for row in rows] == [
        ("one", "primary", "1", "1.234567891"),
        ("two", "primary", "1", ""),
        ("two", "primary", "2", "0.000001"),
        *((by, by, "0", "0.00") for by in ("cache", "join", "best")),
    ]
    assert (rows[3]["role"], rows[3]["target"], rows[3]["output"], rows[3]["status"]) == ("cache", "", "", "200")


async def test_a_file_is_there_once_it_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    assert await run("export", "--output", str(target), "--admin", "http://127.0.0.1:1") == 1
    assert target.read_text() == "old"
    assert await Gate(tmp_path, *DONE).run("export", "--output", str(target), "--provider", "p") == 0
    assert [json.loads(line)["target"] for line in target.read_text().splitlines()] == ["p/m"]
    assert not (tmp_path / "out.jsonl.part").exists()
    assert f"1 lines in {target}" in capsys.readouterr().err


async def test_many_pages_are_one_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = [outcome(call(str(number), at_s=number)) for number in range(1_203)]
    assert await Gate(tmp_path, *done).run("export", "--since", "2023-11-14T22:13:23Z") == 0
    rows = [json.loads(line)["request_id"] for line in capsys.readouterr().out.splitlines()]
    assert rows == [str(number) for number in range(3, 1_203)]


async def test_wrong_usage_and_a_folder_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate(tmp_path)
    assert await gate.run("export", "--since", "yesterday") == 2
    assert await gate.run("export", "--output", str(tmp_path / "no" / "where")) == 1
    assert "cannot be written" in capsys.readouterr().err
