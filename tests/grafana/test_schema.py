"""The dashboards against Grafana's own types, turned into a JSON Schema here and now: a misspelt key fails.

Nothing of Grafana is kept in the repository. Where npm or its registry cannot be had, this is skipped with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.grafana.stage import needed
from tests.grafana.test_dashboards import BOARDS, COMMITTED

Json = dict[str, Any]

HERE = Path(__file__).parent / "schema"
INSTALLED = Path(__file__).parents[2] / ".venvs/grafana-schema"
INSTALL_S_MAX = 300.0
OF_THE_DATA_SOURCE = ("expr", "step", "titleFormat", "textFormat")  # Prometheus's own part of an annotation

pytestmark = pytest.mark.slow


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=INSTALLED, capture_output=True, text=True, timeout=INSTALL_S_MAX, check=False)
    if done.returncode:
        assert not os.environ.get("CI"), done.stderr
        pytest.skip(f"{command[0]} failed: {done.stderr[-300:]}")
    return done.stdout


@pytest.fixture(scope="module")
def grafana() -> Draft7Validator:
    shutil.copytree(HERE, INSTALLED, dirs_exist_ok=True)
    run(needed("npm"), "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund")
    generator = str(INSTALLED / "node_modules/.bin/ts-json-schema-generator")
    arguments = ("--path", "dashboard.ts", "--type", "Everything", "--tsconfig", "tsconfig.json", "--no-type-check")
    return Draft7Validator(json.loads(run(generator, *arguments)))


def wrong(grafana: Draft7Validator, board: Json) -> list[str]:
    marks = [{key: mark[key] for key in mark.keys() - set(OF_THE_DATA_SOURCE)} for mark in board["annotations"]["list"]]
    parts: list[Json] = [{"dashboard": {**board, "annotations": {"list": marks}}}]
    parts += [{panel["type"]: panel["options"]} for panel in board["panels"]]
    return [f"{list(error.absolute_path)}: {error.message}" for part in parts for error in grafana.iter_errors(part)]


@BOARDS
def test_a_dashboard_is_one_by_grafanas_own_types(grafana: Draft7Validator, board: Json) -> None:
    assert not wrong(grafana, board)


def test_a_misspelt_key_is_found(grafana: Draft7Validator) -> None:
    board = json.loads(json.dumps(COMMITTED["fleet.json"]))
    board["panels"][0]["options"]["colourMode"] = "none"
    board["panels"][6]["fieldConfig"]["defaults"]["units"] = "s"
    board["refreshes"] = "30s"
    assert len(wrong(grafana, board)) == 3
