from __future__ import annotations

import pytest

from proxy.cli.version import show


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert show() == 0
    said = capsys.readouterr().out
    assert said.startswith("headgate")
    assert said.count("\n") == 1
