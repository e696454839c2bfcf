"""Writes dashboards, rules and the page of runbooks: `python -m grafana.generate`; `--check` says what is stale.

All of it is committed; a test compares it with this. Which question a dashboard answers is decided in `boards/`; when
somebody is told, and what to do then, in `alerts.py`. Every metric, label and value that they name is declared by the
gate.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana import runbooks
from grafana.boards import agents, budgets, caches, cascades, fleet, loadtest, runs, tail, upstreams
from grafana.panels import Json
from grafana.rules import files

HERE = Path(__file__).parent
FOLDER = HERE / "dashboards"
RULES = HERE / "rules"
RUNBOOKS = HERE.parent / "docs/runbooks.md"
BOARDS = (fleet, agents, tail, upstreams, caches, cascades, runs, budgets, loadtest)


def dashboards() -> dict[str, Json]:
    made = [each.board() for each in BOARDS]
    return {f"{board['uid'].removeprefix('headgate-')}.json": board for board in made}


def text(board: Json) -> str:
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def everything() -> dict[Path, str]:
    return {
        **{FOLDER / name: text(board) for name, board in dashboards().items()},
        **{RULES / name: content for name, content in files().items()},
        RUNBOOKS: runbooks.page(),
    }


def main(arguments: list[str]) -> int:
    stale = {
        file: content for file, content in everything().items() if not file.exists() or file.read_text() != content
    }
    for file, content in stale.items():
        if "--check" not in arguments:
            file.parent.mkdir(exist_ok=True)
            file.write_text(content, encoding="utf-8")
        print(f"{file.relative_to(HERE.parent)} {'is stale' if '--check' in arguments else 'written'}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
