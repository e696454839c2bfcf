from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.cli.main import main

GOOD = "providers: {sim: {kind: simulated}}\nmodels: {small: sim/small}\nadmin: {token: ${TOKEN:-}}\n"
CANARY = "sk-canary-0123456789"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "headgate.yaml"
    file.write_text(GOOD)
    return file


def test_each_value_that_was_set_is_a_line_with_its_origin(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(file)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"admin.token\tnull\t{file}:3",
        f"providers.sim.kind\tsimulated\t{file}:1",
        f"models.small.targets.0.provider\tsim\t{file}:2",
        f"models.small.targets.0.model\tsmall\t{file}:2",
    ]
    assert "more settings are at their defaults: --all shows them" in said.err


def test_all_adds_the_defaults(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(file)]) == 0
    short = capsys.readouterr()
    assert main(["check", "--config", str(file), "--all"]) == 0
    whole = capsys.readouterr()
    defaults = [line for line in whole.out.splitlines() if line.endswith("\tdefault")]
    assert "server.port\t8080\tdefault" in defaults
    assert all(line.count("\t") == 2 for line in whole.out.splitlines())
    assert set(short.out.splitlines()) == set(whole.out.splitlines()) - set(defaults)
    assert f"{len(defaults)} more settings" in short.err
    assert "more settings" not in whole.err


def test_json_has_version_and_settings(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"path": "server.port", "value": 8080, "origin": "default"} in told["settings"]
    assert len(told["version"]) == 12
    (warning,) = told["warnings"]
    assert warning.startswith("models.small.targets.0: no price is known for 'sim/small'")


def test_json_has_the_errors_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD + "x: 1\n")
    assert main(["check", "--config", str(file), "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {"errors": [f"{file}:4 x: unknown key"]}


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_secrets_are_masked(
    file: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", CANARY)
    assert main(["check", "--config", str(file), *arguments]) == 0
    said = capsys.readouterr()
    assert "********" in said.out
    assert "environment TOKEN" in said.out
    assert CANARY not in said.out + said.err


def test_odd_prices_are_a_warning(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD + "pricing: {overrides: {sim/small: {input_usd_per_mtok: 0.0000001, output_usd_per_mtok: 1}}}")
    assert main(["check", "--config", str(file)]) == 0
    assert "\nwarning: price override sim/small" in capsys.readouterr().err


def test_what_an_engine_of_ones_own_costs_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD.replace("kind: simulated", "kind: simulated, gpu: {usd_per_hour: 2.50, gpus: 2}"))
    assert main(["check", "--config", str(file)]) == 0
    assert "sim costs $5.0000 an hour, 1,388,889 nano-dollars a second" in capsys.readouterr().err


def test_without_the_option_the_usual_file_is_meant(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    assert main(["check"]) == 0
    assert "headgate.yaml:1" in capsys.readouterr().out
    file.unlink()
    assert main(["check"]) == 2
    assert capsys.readouterr().err == "headgate.yaml cannot be read: No such file or directory\n"
