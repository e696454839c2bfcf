from __future__ import annotations

import asyncio
import io
import os
import signal

import pytest

from proxy.demo import command
from proxy.demo.command import _stop, _watcher
from proxy.demo.result import Result
from proxy.demo.view import Lines, Live
from tests.proxy.demo.test_report import RESULT


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "term", "kind"),
    [
        (Terminal(), "xterm", Live),
        (Terminal(), "dumb", Lines),
        (Terminal(), None, Lines),
        (io.StringIO(), "xterm", Lines),
    ],
)
def test_only_a_terminal_that_can_move_its_cursor_is_redrawn(
    stream: io.StringIO, term: str | None, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    assert isinstance(_watcher(stream, 60.0), kind)


@pytest.mark.parametrize(
    ("terminal", "browser", "in_json", "opens"),
    [(True, True, False, True), (True, False, False, False), (True, True, True, False), (False, True, False, False)],
)
def test_only_a_person_at_a_terminal_gets_a_browser(
    terminal: bool, browser: bool, in_json: bool, opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[object] = []

    def played(script: object, watcher: object, opened: object) -> Result:
        chosen.append(opened)
        return RESULT

    monkeypatch.setattr(command, "_played", played)
    monkeypatch.setattr(command.sys, "stdout", Terminal() if terminal else io.StringIO())
    assert command.run(60.0, 1, in_json=in_json, browser=browser) == 0
    assert chosen == [command._open if opens else command._unopened]


async def test_the_browser_is_sent_to_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(command.webbrowser, "open", opened.append)
    command._open("http://127.0.0.1:1")
    await asyncio.get_running_loop().shutdown_default_executor()  # waits for what it runs
    assert opened == ["http://127.0.0.1:1"]


async def test_the_first_signal_ends_the_story_and_the_second_the_process() -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, _stop, stopping)
    loop.add_signal_handler(signal.SIGINT, _stop, stopping)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(5.0):
        await stopping.wait()
    assert not loop.remove_signal_handler(signal.SIGTERM)
    assert not loop.remove_signal_handler(signal.SIGINT)
