"""The cookbook's configurations are ones that `check` takes, the frameworks' lines are run or well-formed."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from proxy.cli.main import main
from tests.doc_names import ROOT

FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
RECIPES = re.split(r"^## ", (ROOT / "docs/cookbook.md").read_text(), flags=re.MULTILINE)[1:]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.partition("\n")[0])
def test_each_recipe_is_one_configuration_that_check_takes_without_a_word_and_what_was_seen(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = {language.strip(): block for language, block in FENCE.findall(recipe)}
    assert list(blocks) == ["yaml configuration", "console"]
    assert re.search(r"^\$ (headgate|curl) ", blocks["console"], re.MULTILINE)
    file = tmp_path / "headgate.yaml"
    file.write_text(blocks["yaml configuration"])
    for name in re.findall(r"\$\{([A-Z_]+)\}", blocks["yaml configuration"]):
        monkeypatch.setenv(name, f"value-of-{name}")
    assert main(["check", "--config", str(file)]) == 0
    assert "warning" not in capsys.readouterr().err


# Which test runs the package; the others are not run.
RUN_BY = {
    "OpenAI SDK": "test_openai_sdk.py",
    "OpenAI SDK, unchanged program": "test_openai_sdk.py",
    "LangChain, LangGraph": "test_langgraph.py",
    "AutoGen": "test_autogen.py",
    "LiteLLM SDK": "test_litellm.py",
}
TABLE = (ROOT / "docs/frameworks.md").read_text()
FRAMEWORKS = re.findall(r"^\| ([A-Z].*?|curl) \| (.*?) \| (.*) \|$", TABLE, re.MULTILINE)


@pytest.mark.parametrize(("client", "tested", "line"), FRAMEWORKS, ids=[row[0] for row in FRAMEWORKS])
def test_each_framework_is_run_or_its_line_is_at_least_well_formed(client: str, tested: str, line: str) -> None:
    assert tested.startswith("yes") == (client in RUN_BY or client == "curl")
    if client in RUN_BY:
        assert (ROOT / "tests/real" / RUN_BY[client]).exists()
    (code,) = [span for span in SPAN.findall(line) if "http://127.0.0.1:8080/agents/" in span]
    if code.startswith(("curl ", "OPENAI_")):
        assert shlex.split(code)
    elif code.startswith("llm:"):
        assert set(yaml.safe_load(code)["llm"]) == {"api_type", "model", "base_url", "api_key"}
    else:
        call = ast.parse(code, mode="eval").body
        assert isinstance(call, ast.Call)
        assert {"api_key"} < {keyword.arg for keyword in call.keywords} & {"api_key", "base_url", "api_base"}


def test_every_framework_that_is_listed_is_looked_at() -> None:
    assert len(FRAMEWORKS) == TABLE.count("\n| ") - 1  # without the head; the rule has no blank


def test_the_cookbook_covers_what_people_ask_first() -> None:
    assert len(RECIPES) >= 10


def test_make_up_hands_its_port_on() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    shown = {words: run_make(make, *words) for words in ((), ("PORT=9000",), ("PORT=9000", "ADMIN_PORT=9001"))}
    assert shown[()].endswith("headgate up")
    assert shown[("PORT=9000",)].endswith("headgate up --port 9000")
    assert shown[("PORT=9000", "ADMIN_PORT=9001")].endswith("headgate up --port 9000 --admin-port 9001")


def run_make(make: str, *words: str) -> str:
    command = [make, "--no-print-directory", "-n", "up", *words]
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=True, timeout=30)
    return " ".join(done.stdout.splitlines()[-1].split())
