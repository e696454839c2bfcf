"""`headgate ledger verify`: the same verdict from a running gate and from the file of a stopped one."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from proxy.state.verify import PAGE_ROWS
from tests.proxy.cli.terminal import Gate, run
from tests.proxy.state.samples import call, outcome

DONE = tuple(outcome(call(str(number))) for number in range(5))


def edited(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    for table in ("outcome", "attempt"):
        connection.execute(f"DROP TRIGGER {table}_no_update")
        connection.execute(f"DROP TRIGGER {table}_no_delete")
    connection.executescript(statement)
    connection.close()


async def test_a_running_gate_says_that_all_is_as_it_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = Gate(tmp_path, *DONE)
    assert await gate.run("verify") == 0
    checked, newest, whole = capsys.readouterr().out.splitlines()
    assert checked.startswith("checked 5 rows in ")
    assert newest == f"newest row 5, hash {gate.ledger.head.hash.hex()}"
    assert whole == "every row is as it was written"


async def test_a_long_ledger_is_asked_for_page_by_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate(tmp_path, *DONE)
    await gate.ledger.flush()
    kept = gate.ledger.head.hash.hex()
    rows = 2 * PAGE_ROWS + 5
    for number in range(5, rows):
        gate.ledger.append(outcome(call(str(number))))
    assert await gate.run("verify", "--json", "--expect", kept) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["whole"], verdict["rows"], verdict["seq"], verdict["expected_seq"]) == (True, rows, rows, 5)


async def test_a_stopped_gates_file_is_read_from_the_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate(tmp_path, *DONE)
    assert await run("verify", "--data-dir", str(tmp_path)) == 1
    assert "in use by another process" in capsys.readouterr().err
    gate.ledger.close()
    assert await run("verify", "--data-dir", str(tmp_path)) == 0
    assert gate.ledger.head.hash.hex() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE outcome SET cost_usd_nanos = 0 WHERE seq = 3", "row 3 does not fit: it was changed"),
        ("DELETE FROM outcome WHERE seq = 2", "row 2 does not fit: it is missing"),
        ("INSERT INTO attempt (call, position) VALUES (9, 0)", "row 9 does not fit: an attempt names"),
    ],
)
async def test_the_first_row_that_does_not_fit_is_told_with_what_it_means(
    statement: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Gate(tmp_path, *DONE).ledger.close()
    edited(tmp_path, statement)
    assert await run("verify", "--data-dir", str(tmp_path)) == 1
    shown = capsys.readouterr().out
    assert said in shown and "compare it with a backup" in shown
    assert "as it was written\n" not in shown


async def test_a_cut_tail_is_found_by_a_hash_of_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate(tmp_path, *DONE)
    gate.ledger.close()
    kept = gate.ledger.head.hash.hex()
    assert await run("verify", "--data-dir", str(tmp_path), "--expect", kept) == 0
    edited(tmp_path, "DELETE FROM outcome WHERE seq = 5; DELETE FROM attempt WHERE call = 5")
    capsys.readouterr()
    assert await run("verify", "--data-dir", str(tmp_path)) == 0
    assert await run("verify", "--data-dir", str(tmp_path), "--expect", kept) == 1
    assert "No row has the hash that was expected" in capsys.readouterr().out


async def test_what_cannot_be_asked_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("verify", "--data-dir", str(tmp_path)) == 2
    assert await run("verify", "--admin", "http://127.0.0.1:1") == 1
    assert await Gate(tmp_path).run("verify", "--expect", "abc") == 2
    said = capsys.readouterr().err.splitlines()
    assert "there is no ledger in" in said[0]
    assert "--data-dir DIR" in said[1]
    assert "64 hexadecimal digits" in said[2]


async def test_an_empty_ledger_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await Gate(tmp_path).run("verify") == 0
    assert "newest row 0, hash none" in capsys.readouterr().out
