"""Each format of traces becomes the same shape; what is none is refused with a reason."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from loadtests.replay.recorded import INPUT_MAX, Asked, Run, TraceError, read


def lines(folder: Path, *rows: dict[str, Any], name: str = "trace.jsonl") -> Path:
    file = folder / name
    text = "".join(json.dumps(row) + "\n" for row in rows)
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


def attempt(request: str, at: str, **more: object) -> dict[str, object]:
    """A line of `headgate ledger export`, as far as it is read."""
    row: dict[str, object] = dict.fromkeys(("input_cache_write_5m", "input_cache_write_1h", "reasoning"))
    row |= {"request_id": request, "at": at, "run": None, "agent": "a", "model": "m", "endpoint": "chat"}
    return row | {"role": "first", "input_uncached": 100, "input_cached": 28, "output": 9, "duration_s": 2.0,
                  "usage_source": "reported", **more}  # fmt: skip


def test_sessions_are_runs_that_wait_for_their_answers(tmp_path: Path) -> None:
    calls = [
        {"t": 0, "model": "x", "input": 130, "output": 7, "think_s": 0.0, "blocks": [[1, 2]]},
        {"t": 9, "model": "x", "input": INPUT_MAX + 1, "output": 7, "think_s": 1.0, "blocks": []},
        {"t": 9, "model": "y", "input": 200, "output": 8, "think_s": 500.0, "blocks": [[1, 2], [5, 5]]},
    ]
    (run,) = read(
        lines(tmp_path, {"id": "r", "block_size": 64, "calls": calls}, name="s.jsonl.gz"), calls_max=9, seed=1
    )
    assert run.name == "r"
    assert [(call.model, call.tokens, call.think_s, call.ranges) for call in run.calls] == [
        ("x", 130, 0.0, ((1, 2),)),
        ("y", 200, 60.0, ((1, 2), (5, 5))),
    ]


def test_conversations_and_arrivals_are_calls_by_themselves(tmp_path: Path) -> None:
    talk = {"timestamp": 3_000, "input_length": 600, "output_length": 5, "hash_ids": [4, 9]}
    (one,) = read(lines(tmp_path, talk), calls_max=9, seed=1)
    assert one == Run(None, 3.0, (Asked("", 600, 5, 0.0, "", 512, ((4, 4), (9, 9))),))
    file = tmp_path / "azure.csv"
    file.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
        "2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109"
    )
    first, second = read(file, calls_max=9, seed=1)
    assert (first.begins_s, round(second.begins_s, 2)) == (0.0, 4.31)
    assert first.calls[0].scope != second.calls[0].scope, "nothing is known of what they share"


def test_a_ledger_is_its_calls_with_the_answers_they_got(tmp_path: Path) -> None:
    rows = (
        attempt("1", "2026-11-22T10:00:00.000Z", usage_source=None),
        attempt("1", "2026-11-22T10:00:00.000Z", run="r", reasoning=3),
        attempt("2", "2026-11-22T10:00:05.000Z", run="r", input_uncached=200),
        attempt("3", "2026-11-22T10:00:06.000Z"),
        attempt("4", "2026-11-22T10:00:07.000Z", role="shadow"),
        attempt("5", "2026-11-22T10:00:07.000Z", endpoint="embeddings"),
        attempt("6", "2026-11-22T10:00:08.000Z", run="r", agent_source="gate"),
    )
    run, alone = read(lines(tmp_path, *rows), calls_max=9, seed=1)
    assert (run.name, alone.name) == ("r", None)
    assert [(call.tokens, call.output, call.think_s) for call in run.calls] == [(128, 12, 0.0), (228, 9, 3.0)]
    assert run.calls[0].ranges == ((0, 1),)
    assert run.calls[0].scope == run.calls[1].scope, "a run's prompts grow"
    assert alone.begins_s == 6.0


def test_a_ledger_in_columns_is_the_same(tmp_path: Path) -> None:
    rows = [attempt("1", "2026-11-22T10:00:00.000Z", run="r"), attempt("2", "2026-11-22T10:00:06.000Z")]
    file = tmp_path / "ledger.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows([{name: "" if value is None else value for name, value in row.items()} for row in rows])
    assert read(file, calls_max=9, seed=1) == read(lines(tmp_path, *rows), calls_max=9, seed=1)


def test_so_many_calls_are_taken_and_no_more(tmp_path: Path) -> None:
    rows = [attempt(str(at), f"2026-11-22T10:00:{at:02}.000Z", run=f"r{at % 2}") for at in range(10)]
    runs = read(lines(tmp_path, *rows), calls_max=7, seed=1)
    assert [len(run.calls) for run in runs] == [5, 2]


@pytest.mark.parametrize("text", ["", "{}\n", "[1\n", '{"calls": 3}\n', '{"calls": []}\n'])
def test_what_is_no_trace_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "none.jsonl"
    file.write_text(text)
    with pytest.raises(TraceError, match=r"none\.jsonl|formats"):
        read(file, calls_max=9, seed=1)
