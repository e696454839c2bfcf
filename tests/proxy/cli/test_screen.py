"""The terminal as a thing of its own: drawn on, typed on, and given back."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator

import pytest

from proxy.cli.screen import Screen
from proxy.cli.top_view import Line
from tests.proxy.cli.emulator import Emulator


@pytest.fixture
def keyboard() -> Iterator[tuple[int, int]]:
    """Where keys are typed, and where they are read."""
    typed, read = pty.openpty()
    yield typed, read
    os.close(typed)
    os.close(read)


def screen(emulator: Emulator, keys: int, *, coloured: bool = True) -> Screen:
    return Screen(emulator, keys, coloured=coloured)  # type: ignore[arg-type]  # as much of a stream as it needs


def test_a_frame_replaces_the_one_before(keyboard: tuple[int, int]) -> None:
    emulator = Emulator(20, 5)
    with screen(emulator, keyboard[1]) as shown:
        assert (emulator.alternate, emulator.cursor) == (True, False)
        shown.paint([Line("a long first line", "bold"), Line("second"), Line("third")])
        assert emulator.rows == ["a long first line", "second", "third", "", ""]
        shown.paint([Line("short", "alarm"), Line("2")])
        assert emulator.rows == ["short", "2", "", "", ""]
    assert (emulator.alternate, emulator.cursor) == (False, True)


def test_without_colour_no_colour_is_sent(keyboard: tuple[int, int]) -> None:
    emulator = Emulator(20, 5)
    with screen(emulator, keyboard[1], coloured=False) as shown:
        shown.paint([Line("x", "alarm")])
    assert not emulator.coloured


def test_keys_come_one_by_one_without_enter(keyboard: tuple[int, int]) -> None:
    typed, read = keyboard
    with screen(Emulator(), read) as shown:
        assert shown.pressed(0.0) == ()
        os.write(typed, b"2s")
        assert shown.pressed(5.0) == ("2", "s")
        os.write(typed, b"\x1b[A")  # an arrow
        assert shown.pressed(5.0) == ()
        os.write(typed, b"\x1b")
        assert shown.pressed(5.0) == ("\x1b",)


def test_the_terminal_is_given_back_as_it_was_also_after_an_error(keyboard: tuple[int, int]) -> None:
    before = termios.tcgetattr(keyboard[1])
    emulator = Emulator()

    def broken() -> None:
        with screen(emulator, keyboard[1]):
            assert termios.tcgetattr(keyboard[1]) != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert termios.tcgetattr(keyboard[1]) == before
    assert not emulator.alternate
