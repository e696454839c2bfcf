"""`headgate simulate` from its options to its output and exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.cli.main import main
from tests.proxy.simulate.samples import written

CASCADE = {"mode": "cascade", "steps": ["a/small", "b/large"]}


def trace(folder: Path) -> Path:
    file = folder / "trace.csv"
    rows = [f"2023-11-16 18:{at // 60:02}:{at % 60:02}.0000000,{400 + at},50" for at in range(120)]
    file.write_text("\r\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    return file


def test_two_configurations_are_compared_in_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    today = written(tmp_path / "today.json")
    candidate = written(tmp_path / "candidate.json", m=CASCADE)  # type: ignore[arg-type]  # it is one
    given = ["--config", str(today), "--against", str(candidate), "--trace", str(trace(tmp_path)), "--calls", "80"]
    assert main(["simulate", *given, "--good", "small=0.7", "--seen", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["simulated"] is True
    assert (found["today"]["calls"], found["candidate"]["calls"]) == (80, 80)
    assert found["difference"]["usd"]["verdict"] == "less"
    assert found["difference"]["good"]["mean"] == 0.0
    assert 0.1 < found["candidate"]["escalated"] < 0.5


def test_a_person_reads_a_table_and_a_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(written(tmp_path / "today.json"))
    assert main(["simulate", "--config", file, "--against", file, "--trace", str(trace(tmp_path))]) == 0
    said = capsys.readouterr().out
    assert "cost, USD\t" in said
    assert "cost of a call: +0.000000 USD (+0.000000 to +0.000000): no difference shown" in said
    assert main(["simulate", "--config", file, "--trace", str(trace(tmp_path))]) == 0
    assert "no difference" not in capsys.readouterr().out


def test_what_is_no_trace_fails_and_what_is_no_model_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = str(written(tmp_path / "two.json", one="a/small", other="b/large"))
    assert main(["simulate", "--config", two, "--trace", str(tmp_path / "none.jsonl")]) == 1
    assert "none.jsonl cannot be read: No such file or directory\n" in capsys.readouterr().err
    assert main(["simulate", "--config", two, "--trace", str(tmp_path / "two.json")]) == 1
    assert main(["simulate", "--config", two, "--trace", str(trace(tmp_path))]) == 2
    assert "--model" in capsys.readouterr().err
    for wrong in (("--good", "small"), ("--good", "small=2"), ("--seen", "2"), ("--calls", "0")):
        with pytest.raises(SystemExit) as ended:
            main(["simulate", "--config", two, "--trace", str(trace(tmp_path)), *wrong])
        assert ended.value.code == 2


def test_quality_goes_by_configured_names_and_a_name_that_fits_nothing_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--config", str(written(tmp_path / "today.json")), "--trace", str(trace(tmp_path)), "--calls", "80"]
    assert main(["simulate", *given, "--good", "m=0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["today"]["good"] == 0.0
    assert main(["simulate", *given, "--good", "smalll=0.5"]) == 2
    assert "no model is called 'smalll'" in capsys.readouterr().err
