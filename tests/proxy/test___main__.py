from __future__ import annotations

import runpy
import sys

import pytest


def test_running_the_package_is_running_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["headgate", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("proxy", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("headgate")
