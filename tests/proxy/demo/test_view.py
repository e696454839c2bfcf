from __future__ import annotations

import io

import pytest

from proxy.demo.result import Event
from proxy.demo.view import EVENTS_SHOWN, Lines, Live, Pace, Picture

CALM = Pace(2.0, 3, 40, 0, 0.25, 1_500_000)
PICTURE = Picture(12.0, 60.0, direct=CALM, gate=CALM, providers=(("east", "down (500)"), ("west", "ok")))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_plain_lines_that_say_simulated() -> None:
    out = io.StringIO()
    lines = Lines(out, 60.0)
    lines.event(Event(11.5, "provider east is down"))
    lines.show(PICTURE)
    said = out.getvalue().splitlines()
    assert said[0] == "SIMULATED  11.5 s  provider east is down"
    assert said[1].startswith("SIMULATED  12.0 s  direct 2.0 calls/s, 3 in flight, 40 calls, 0 failed, $0.001500 |")
    assert all(line.startswith("SIMULATED") for line in said)
    assert "\033" not in out.getvalue()


def test_a_terminal_gets_one_block_that_is_drawn_over_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    out = Terminal()
    live = Live(out)
    live.event(Event(0.0, "before the first picture"))
    assert out.getvalue() == ""
    live.show(PICTURE)
    first = out.getvalue()
    assert "\033" not in first
    assert "SIMULATED" in first and "east: down (500)" in first and "before the first picture" in first
    live.show(PICTURE)
    assert out.getvalue() == first + f"\033[{first.count(chr(10))}F\033[J" + first


def test_the_block_has_no_colour_and_a_bounded_height(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal()
    live = Live(out)
    for number in range(20):
        live.event(Event(float(number), f"event {number}"))
    live.show(PICTURE)
    lines = out.getvalue().splitlines()
    assert "\033[" not in out.getvalue()
    assert len(lines) == 5 + EVENTS_SHOWN
    assert max(map(len, lines)) < 40
    assert lines[-1].endswith("event 19")
