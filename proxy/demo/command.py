"""Runs the demo for a person, a pipe or a program: a loop, a temporary folder, Ctrl-C, the right kind of output.

The gate's request log goes to a file in the temporary folder, so that log and view do not fight for the terminal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import msgspec
import uvloop

from proxy.cli.table import Page
from proxy.clock import SystemClock
from proxy.demo.report import report
from proxy.demo.result import Result
from proxy.demo.stage import Script, Stage
from proxy.demo.view import Lines, Live, Silent, Watcher
from proxy.listeners import ListenError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(seconds: float, seed: int, *, in_json: bool, browser: bool) -> int:
    """Exit code 0: it ran, the ledger equals the bill, and no budget was overrun."""
    watcher = Silent() if in_json else _watcher(sys.stdout, seconds)
    opened = _open if browser and not in_json and sys.stdout.isatty() else _unopened
    try:
        result = _played(Script(seconds, seed), watcher, opened)
    except ListenError as error:
        print(f"headgate: {error}", file=sys.stderr)
        return 1
    if in_json:
        print(msgspec.json.encode(result).decode())
    else:
        page = Page(sys.stdout)
        page.write("")
        for line in report(result, page):
            page.write(line)
    return 0 if result.exact else 1


def _watcher(stream: TextIO, seconds: float) -> Watcher:
    live = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return Live(stream) if live else Lines(stream, seconds)


def _open(console: str) -> None:
    """In a thread of its own, as a browser that starts may hold up its caller."""
    asyncio.get_running_loop().run_in_executor(None, webbrowser.open, console)


def _unopened(console: str) -> None:
    """The address stands in the first line."""


def _played(script: Script, watcher: Watcher, opened: Callable[[str], None]) -> Result:
    with (
        TemporaryDirectory(prefix="headgate-demo-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_play(script, watcher, Path(folder), opened))


async def _play(script: Script, watcher: Watcher, folder: Path, opened: Callable[[str], None]) -> Result:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in SIGNALS:
        loop.add_signal_handler(name, _stop, stopping)
    async with Stage(script, folder, clock=SystemClock(script.seed), stopping=stopping) as stage:
        opened(stage.gate.admin_url)
        return await stage.play(watcher)


def _stop(stopping: asyncio.Event) -> None:
    """The first signal ends the story, the second the process."""
    stopping.set()
    for name in SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(name)
