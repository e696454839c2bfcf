"""What a person reads when the gate is up can be typed as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.banner import banner, command
from proxy.config.load import Config, load

URLS = ("http://127.0.0.1:8080", "http://127.0.0.1:8081")


def config(folder: Path, **more: object) -> Config:
    file = folder / "headgate.yaml"
    file.write_text("providers: {box: {kind: simulated}}\nmodels: {m: box/sim}\npricing: {unknown: allow}\n")
    return load(file, {}, {"data_dir": str(folder), **more})


def a_folder_with_the_command(folder: Path) -> Path:
    file = folder / "headgate"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_in_a_clone_the_command_is_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run = command(".venv/bin/headgate")
    said = banner(config(tmp_path), URLS, (), open_gate=True, run=run)
    assert said.splitlines()[-1] == "Then: .venv/bin/headgate spend"
    a_folder_with_the_command(tmp_path)
    assert command(".venv/bin/headgate") == "headgate", "on the path its name is enough"


def test_a_gate_that_another_program_started_is_asked_by_the_commands_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command("proxy/__main__.py") == "headgate"


def test_the_example_names_a_model_and_the_key_that_opens_the_gate(tmp_path: Path) -> None:
    shut = banner(config(tmp_path), URLS, ("one thing",), open_gate=False, run="headgate")
    assert '"model": "m"' in shut
    assert "Bearer $HEADGATE_KEY" in shut
    assert "  note       one thing" in shut
    assert "Bearer sk-anything" in banner(config(tmp_path), URLS, (), open_gate=True, run="headgate")


def test_an_admin_listener_elsewhere_is_named(tmp_path: Path) -> None:
    elsewhere = config(tmp_path)
    assert "--admin" not in banner(elsewhere, URLS, (), open_gate=True, run="headgate")
    moved = load(tmp_path / "headgate.yaml", {}, {"data_dir": str(tmp_path), "admin.port": 9_999})
    said = banner(moved, (URLS[0], "http://127.0.0.1:9999"), (), open_gate=True, run="headgate")
    assert said.endswith("headgate spend --admin http://127.0.0.1:9999")
