from __future__ import annotations

import asyncio
import io
import os
import signal

import pytest

from proxy.demo.command import _stop, _watcher
from proxy.demo.view import Lines, Live


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
