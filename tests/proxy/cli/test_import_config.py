"""The command, from a file to a file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from proxy.cli import import_config
from proxy.config.load import load

FILE = """
model_list:
  - model_name: small
    litellm_params: &shared {model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY}
  - model_name: again
    litellm_params: {<<: *shared, rpm: 3}
router_settings: {model_group_alias: {tiny: small}}
litellm_settings: {drop_params: true}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "config.yaml"
    made.write_text(FILE)
    return made


def run(*typed: str) -> int:
    parser = argparse.ArgumentParser()
    import_config.register(parser.add_subparsers(dest="command"))
    return import_config.translate(parser.parse_args(["import", "litellm", *typed]))


def test_the_result_can_be_served(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "headgate.yaml"
    assert run(str(file), "--output", str(made)) == 0
    config = load(made, {"OPENAI_API_KEY": "k"})
    assert set(config.models) == {"small", "again", "tiny"}
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "left out: litellm_settings.drop_params: bodies go upstream as they came\n"


def test_nothing_is_overwritten(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(file), "--output", str(file)) == 2
    assert file.read_text() == FILE
    assert "File exists" in capsys.readouterr().err


def test_as_json_both_halves_are_in_one_object(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(file), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["left_out"][0]["setting"] == "litellm_settings.drop_params"
    assert said["configuration"]["models"]["again"]["targets"][0]["rpm"] == 3


def test_a_result_that_could_not_be_served_says_what_is_missing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("model_list: [{model_name: a, litellm_params: {model: anthropic/x}}]")
    assert run(str(file)) == 1
    assert "no model is configured" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["a: [", "just text", "models: {}", "\x00"])
def test_what_is_no_such_file_is_refused(file: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(text)
    assert run(str(file)) == 2
    assert capsys.readouterr().out == ""
    assert run(str(file.parent / "gone.yaml")) == 2
