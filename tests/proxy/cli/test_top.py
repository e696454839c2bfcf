"""The command: what it hears becomes what is seen, and keys change it."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from queue import Queue

import pytest
from msgspec.structs import replace

from proxy.cli import top
from proxy.cli.asking import Refusal
from proxy.cli.screen import Screen
from proxy.cli.table import Page
from proxy.cli.top_view import Line, Size
from proxy.state.budget_report import BudgetList
from tests.proxy.cli.emulator import Emulator
from tests.proxy.cli.live_gate import arguments, frame, live_gate
from tests.proxy.cli.live_samples import SNAPSHOT, WRITER, delta
from tests.proxy.cli.terminal import Ticking
from tests.proxy.cli.test_budgets import ROW

ROOT = Path(__file__).parents[3]


class Canvas:
    """A screen whose keys are scripted: each is a key, or something that happens; then `q`."""

    def __init__(self, *script: str | Callable[[], None]) -> None:
        self.emulator = Emulator(160, 24)
        self.seen: list[str] = []
        self._screen = Screen(self.emulator, -1, coloured=True)  # type: ignore[arg-type]
        self._script = [*script]

    def size(self) -> Size:
        return Size(160, 24)

    def paint(self, lines: list[Line]) -> None:
        self._screen.paint(lines)
        self.seen.append("\n".join(self.emulator.rows))

    def pressed(self, wait_s: float) -> tuple[str, ...]:
        step = self._script.pop(0) if self._script else "q"
        if isinstance(step, str):
            return (step,)
        step()
        return ()


class World:
    def __init__(self) -> None:
        self.heard: Queue[top.Heard] = Queue()
        self.heard.put(SNAPSHOT)
        self.live = top.Fleet(self.heard, Ticking())
        self.live.first()

    def says(self, message: top.Heard) -> Callable[[], None]:
        return lambda: self.heard.put(message)

    def watched(self, *script: str | Callable[[], None]) -> list[str]:
        canvas = Canvas(*script)
        top.watch(self.live, canvas, Page(canvas.emulator), interval_s=1.0)  # type: ignore[arg-type]
        return canvas.seen


def test_what_is_heard_is_drawn_at_the_next_interval() -> None:
    world = World()
    first, second = world.watched(world.says(delta(1, replace(WRITER, calls=4_321))))
    assert "4321" not in first and "4321" in second
    assert "23:42:13" in second


def test_keys_change_the_view_the_order_and_the_filter() -> None:
    seen = World().watched("2", "1", "s", "/", "w", "r", "\r")
    assert "[2 routes]" in seen[1] and "small" in seen[1]
    assert "by cost" in seen[3]
    assert "filter: wr_" in seen[6] and "planner " not in seen[6].split("last")[1]
    assert "filter: wr" in seen[7] and "wr_" not in seen[7]


def test_a_pause_keeps_the_picture_and_still_takes_keys() -> None:
    world = World()
    seen = world.watched(" ", world.says(delta(1, replace(WRITER, calls=4_321))), "3", "1", " ")
    assert "PAUSED" in seen[1] and "4321" not in "".join(seen[:5])
    assert "[3 targets]" in seen[3]
    assert "4321" in seen[5] and "PAUSED" not in seen[5]


def test_budgets_are_shown_as_bars() -> None:
    world = World()
    *_, last = world.watched(world.says(BudgetList((ROW,), truncated=False)))
    assert "agent:planner usd/day   ████████████████░░░░ 83%" in last


def test_a_gate_that_is_gone_for_good_ends_it() -> None:
    world = World()
    with pytest.raises(Refusal, match="gone"):
        world.watched(world.says(Refusal("gone")))


def run(monkeypatch: pytest.MonkeyPatch, *typed: str) -> int:
    parser = argparse.ArgumentParser()
    top.register(parser.add_subparsers(dest="command"))
    with live_gate(frame("snapshot", SNAPSHOT, "e-1")) as gate:
        return top.top(parser.parse_args(["top", "--admin", gate.address, "--interval", "0.1", *typed]))


def test_once_is_one_picture_in_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--once") == 0
    out = capsys.readouterr().out
    assert out.isascii() and "\x1b" not in out
    assert out.startswith("Headgate   23:42:12 UTC")
    assert out.splitlines()[-1].split()[0] == "writer"


def test_as_json_it_is_all_that_is_known(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--once", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["snapshot"]["agents"][0]["name"] == "planner"
    assert said["budgets"][0]["account"] == "agent:planner"


def test_without_a_gate_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    top.register(parser.add_subparsers(dest="command"))
    assert top.top(parser.parse_args(["top", "--admin", "http://127.0.0.1:1"])) == 1
    assert "nothing listens" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "x", "4000"])
def test_an_interval_has_bounds(seconds: str) -> None:
    with pytest.raises((ValueError, argparse.ArgumentTypeError)):
        top._interval(seconds)


def test_the_listener_hands_over_messages_budgets_and_the_end() -> None:
    heard: Queue[top.Heard] = Queue()
    with live_gate(frame("snapshot", SNAPSHOT, "e-1"), 500) as gate:
        gate.scripts += [500] * 10
        listener = arguments(gate)
        top.listen(listener, heard, clock=Ticking(), pause=lambda seconds: None)
    messages = [heard.get_nowait() for _ in range(heard.qsize())]
    assert messages[0] == SNAPSHOT
    assert isinstance(messages[1], BudgetList)
    assert isinstance(messages[-1], Refusal)


@pytest.mark.slow
def test_on_a_terminal_it_draws_hears_keys_and_gives_the_screen_back() -> None:
    typed, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    seen = Emulator(100, 24)
    with live_gate(frame("snapshot", SNAPSHOT, "e-1")) as gate:
        command = [sys.executable, "-m", "proxy", "top", "--admin", gate.address]
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        ran = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=terminal, stdout=terminal)
        os.close(terminal)
        shown(typed, seen, "[1 agents]")
        assert seen.alternate and not seen.cursor
        os.write(typed, b"3")
        shown(typed, seen, "[3 targets]")
        os.write(typed, b"q")
        shown(typed, seen, "")
        assert ran.wait(10) == 0
    os.close(typed)
    assert seen.cursor and not seen.alternate


def shown(keyboard: int, seen: Emulator, text: str) -> None:
    """Reads until the text is there; without one, until there is no screen any more."""
    while text not in "\n".join(seen.rows) if text else seen.alternate:
        ready, _, _ = select.select([keyboard], [], [], 20.0)
        assert ready, f"{text!r} has not come: {seen.rows}"
        seen.write(os.read(keyboard, 65_536).decode())
