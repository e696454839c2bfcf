from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from docs import generate
from proxy.cli.main import COMMANDS, _parser, main

ROOT = Path(__file__).parents[3]
HEAVY = ("httptools", "pydantic", "yaml", "msgspec", "asyncio", "prometheus_client", "tiktoken", "sqlite3")


def child(
    *arguments: str, code: str = "from proxy.cli.main import main; raise SystemExit(main())"
) -> tuple[int, str, str]:
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return ran.returncode, ran.stdout, ran.stderr


def test_help_names_every_command_with_its_purpose_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    for command in COMMANDS:
        assert f"    {command.name} " in said or f"    {command.name}\n" in said  # a long one has a line of its own
    assert "examples:" in said
    assert "Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration." in said


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_no_line_of_a_help_is_wider_than_a_screen(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert max(map(len, subhelp(_parser(command), command).splitlines())) < 120


def subhelp(parser: argparse.ArgumentParser, command: str) -> str:
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return str(subparsers.choices[command].format_help())


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from proxy.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    assert child(code=code)[2] == "[]\n"


def test_checking_a_file_loads_no_server() -> None:
    code = (
        "import sys; from proxy.cli.main import main; main(['check', '--all', '--config', 'headgate.example.yaml'])\n"
        "late = ('proxy.surfaces.server', 'uvloop', 'tiktoken')\n"
        "print([name for name in late if name in sys.modules], file=sys.stderr)"
    )
    assert child(code=code)[2] == "[]\n"


def test_loading_a_command_is_not_held_up_by_the_collector() -> None:
    code = (
        "import gc, sys; from proxy.cli.main import main; before = gc.get_stats()[2]['collections']\n"
        "main(['check', '--all', '--config', 'headgate.example.yaml'])\n"
        "print(gc.get_stats()[2]['collections'] - before, gc.isenabled(), file=sys.stderr)"
    )
    assert child(code=code)[2] == "0 True\n"


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["--nonsense"], ["check", "--nonsense"], ["keys"], ["keys", "nonsense"], ["check", "--conf", "x"]],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: headgate" in capsys.readouterr().err


def test_no_command_is_answered_with_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "examples:" in capsys.readouterr().out


def test_a_wrong_configuration_ends_with_2_and_its_messages_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("servr: 1\n")
    assert main(["check", "--config", str(file)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"{file} models: no model is configured, so nothing could be served\n"
        f"{file}:1 servr: unknown key; did you mean 'server'?\n"
    )


def test_every_command_that_answers_can_answer_in_json() -> None:
    actions = {words: parser._actions for words, parser in generate.commands().items()}
    leaves = {
        words
        for words, found in actions.items()
        if not any(isinstance(each, argparse._SubParsersAction) for each in found)
    }
    without = {words for words in leaves if all("--json" not in each.option_strings for each in actions[words])}
    assert without == {"headgate up", "headgate serve"}


def test_a_reader_that_has_seen_enough_is_no_error_of_ours() -> None:
    command = f"{sys.executable} -m proxy check --config headgate.example.yaml | head -1"
    ran = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "server.host\t127.0.0.1\theadgate.example.yaml:15\n"
    assert "Traceback" not in ran.stderr and "pipe" not in ran.stderr, ran.stderr


def test_the_module_is_the_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "proxy", "--version"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout[:8]) == (0, "headgate")
