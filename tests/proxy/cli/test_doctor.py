"""The whole look, as it is typed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from proxy.cli import doctor

GOOD = """
server: {port: 0}
admin: {port: 0}
data_dir: data
providers: {sim: {kind: simulated}}
models: {small: sim/sim-small}
pricing: {overrides: {"sim/sim-small": {input_usd_per_mtok: 1, output_usd_per_mtok: 2}}}
"""
DEAD = GOOD.replace("{sim: {kind: simulated}}", '{sim: {kind: openai, base_url: "http://127.0.0.1:1/v1"}}')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*typed: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.register(parser.add_subparsers(dest="command"))
    return doctor.doctor(parser.parse_args(["doctor", *typed]))


def test_a_machine_where_nothing_is_missing_is_well(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "headgate.yaml").write_text(GOOD)
    assert run("--json") == 0
    said = json.loads(capsys.readouterr().out)
    checks = {finding["check"]: finding["state"] for finding in said["findings"]}
    assert said["state"] == "skipped"  # no gate to scrape
    assert {"configuration", "prices", "keys", "provider sim", "clock", "ledger", "disk", "scrape"} < set(checks)
    assert set(checks.values()) <= {"ok", "skipped"}
    assert not (folder / "data").exists()


def test_a_provider_that_is_not_there_fails_it_with_a_remedy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "other.yaml").write_text(DEAD)
    assert run("--config", "other.yaml") == 1
    out, err = capsys.readouterr()
    assert any(line.startswith("provider sim\tFAILED\t") for line in out.splitlines())
    assert "provider sim: is it running" in err
    assert "1 of 10 checks failed" in err


def test_a_file_that_is_wrong_is_all_there_is_to_say(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "headgate.yaml").write_text(GOOD + "modells: {}")
    assert run("--json") == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {(finding["check"], finding["state"]) for finding in findings} == {("configuration", "failed")}
    assert any("modells" in finding["words"] for finding in findings)


def test_a_gate_that_was_named_and_is_not_there_fails_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "headgate.yaml").write_text(GOOD)
    assert run("--admin", "http://127.0.0.1:1") == 1
    assert "admin port\tFAILED\tno gate tells of itself at http://127.0.0.1:1" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["127.0.0.1:9101", "http://127.0.0.1:port", "http://", "http://h:0"])
def test_an_address_that_is_none_is_wrong_usage(url: str, folder: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--admin", url)
    assert ended.value.code == 2


def test_without_a_file_it_looks_around_as_up_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "models_on", lambda port: None)
    for variable in ("OPENAI_API_KEY", "HEADGATE_KEY", "HEADGATE_ADMIN_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    run()
    assert "provider simulated\tok\tSIMULATED" in capsys.readouterr().out
