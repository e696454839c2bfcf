"""The upstream as a process: it says where it is, plays its file, keeps books, and refuses a file it cannot play."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from loadtests.upstream.cli import main
from tests.sources import ROOT

COMMAND = [sys.executable, str(ROOT / "loadtests" / "upstream.py"), "--port", "0"]


@pytest.mark.slow
def test_a_scenario_from_a_file_is_played_and_written_down(tmp_path: Path) -> None:
    file, usage = tmp_path / "s.yaml", tmp_path / "usage.jsonl"
    file.write_text("rules: [{steps: [{answer: {tokens: 4}}]}]\n")
    process = subprocess.Popen(
        [*COMMAND, "--scenario", str(file), "--usage-file", str(usage)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        asked = urllib.request.Request(f"{found[0]}/chat/completions", data=b'{"model":"m","messages":[]}')
        with urllib.request.urlopen(asked, timeout=10) as reply:
            assert json.load(reply)["usage"]["completion_tokens"] == 4
        with urllib.request.urlopen(found[0].removesuffix("/v1") + "/bill", timeout=10) as reply:
            assert json.load(reply)["totals"]["completion_tokens"] == 4
    finally:
        process.terminate()
        process.wait(10)
    assert json.loads(usage.read_text())["completion_tokens"] == 4


def test_a_file_that_cannot_be_played_is_refused_before_anything_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "s.json"
    file.write_text('{"rules":[{"steps":["wiat"]}]}')
    assert main(["--port", "0", "--scenario", str(file)]) == 2
    assert "there is no verb 'wiat'; wait?" in capsys.readouterr().err


def test_the_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    assert "half_close" in told and "rules:" in told
