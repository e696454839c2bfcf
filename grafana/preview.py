"""Pictures of the dashboards without a Grafana: `python -m grafana.preview --prometheus URL --out FOLDER`.

`preview.html` lays a dashboard out, asks Prometheus and draws; a headless Chromium takes the picture. They show what a
panel answers and where it stands, not how Grafana looks. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from grafana.generate import dashboards
from grafana.panels import Json

PAGE = Path(__file__).with_name("preview.html")
WIDTH = 1200
ROW = 32  # pixels of a row of the grid, with its gap
HEAD = 90
POINTS = 180
SECONDS_MAX = 60.0


def page(board: Json, prometheus: str, start: float, *, end: float) -> str:
    asked = {"prometheus": prometheus, "start": start, "end": end, "step": max(1, round((end - start) / POINTS))}
    text = PAGE.read_text(encoding="utf-8")
    for name, value in (("board", board), ("asked", asked)):
        written = json.dumps(value).replace("</", "<\\/")
        text = re.sub(rf"const {name} = .*// filled in", lambda _, one=name, all=written: f"const {one} = {all};", text)
    return text


def height(board: Json) -> int:
    return HEAD + ROW * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])


def browse(chromium: str, file: Path, *arguments: str) -> str:
    """What it printed. Raises RuntimeError where it fails."""
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-extensions"]
    command += ["--virtual-time-budget=10000", f"--user-data-dir={file.parent / 'profile'}", *arguments, file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)  # noqa: S603 (a browser of the operator's choice, over a page made here)
    if done.returncode:
        raise RuntimeError(f"Chromium failed: {done.stderr[-500:]}")
    return done.stdout


def shoot(chromium: str, text: str, picture: Path, *, height: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "preview.html"
        file.write_text(text, encoding="utf-8")
        browse(chromium, file, f"--screenshot={picture.resolve()}", f"--window-size={WIDTH},{height}")


def states(chromium: str, text: str) -> dict[str, str]:
    """Of each panel, `ok`, `empty` or `error`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "preview.html"
        file.write_text(text, encoding="utf-8")
        shown = browse(chromium, file, "--dump-dom")
    return dict(re.findall(r'data-panel="([^"]*)" data-state="(\w+)"', shown))


def main(given: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Draws the dashboards over what a Prometheus holds.")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    parser.add_argument("--minutes", type=float, default=60.0, help="how far back")
    parser.add_argument("--out", type=Path, default=Path("previews"), help="the folder for the pictures")
    parser.add_argument("--chromium", default="chromium", help="the browser's command")
    options = parser.parse_args(given)
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.time()
    for name, board in dashboards().items():
        text = page(board, options.prometheus, end - options.minutes * 60, end=end)
        picture = options.out / f"grafana-{name.removesuffix('.json')}.png"
        shoot(options.chromium, text, picture, height=height(board))
        print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
