"""A terminal that is drawn on: the alternate screen, keys as they are pressed, and all of it given back at the end.

Plain ANSI (ECMA-48) and no library. A frame overwrites the one before in place, so nothing flickers. Nothing is sent
here that was not cleaned by whoever made the lines.
"""

from __future__ import annotations

import os
import select
import shutil
import termios
import tty
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final, TextIO

from proxy.cli.top_view import Line, Size, Style

ENTER: Final = "\033[?1049h\033[?25l"  # the alternate screen, without a cursor
LEAVE: Final = "\033[?25h\033[?1049l"
HOME, LINE_END, REST = "\033[H", "\033[K", "\033[J"
KEYS_BYTES_MAX: Final = 1024
CODES: Final[Mapping[Style, str]] = {"bold": "1", "dim": "2", "alarm": "31", "chosen": "7"}


class Screen:
    """A context manager. `keys`: the file descriptor of the keyboard."""

    def __init__(self, out: TextIO, keys: int, *, coloured: bool) -> None:
        self._out = out
        self._keys = keys
        self._coloured = coloured
        self._closing = ExitStack()

    def __repr__(self) -> str:
        return f"Screen({self.size()})"

    def __enter__(self) -> Screen:
        self._closing.callback(termios.tcsetattr, self._keys, termios.TCSADRAIN, termios.tcgetattr(self._keys))
        tty.setcbreak(self._keys)  # keys at once and unseen; Ctrl-C stays what it is
        self._write(ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        self._write(LEAVE)
        self._closing.close()

    def size(self) -> Size:
        found = shutil.get_terminal_size()
        return Size(found.columns, found.lines)

    def paint(self, lines: Sequence[Line]) -> None:
        body = f"{LINE_END}\r\n".join(map(self._painted, lines))
        self._write(f"{HOME}{body}{LINE_END}{REST}")

    def pressed(self, wait_s: float) -> tuple[str, ...]:
        """The keys since the last look; waits for the first one. What arrow keys and the like send is passed over."""
        ready, _, _ = select.select([self._keys], [], [], max(0.0, wait_s))
        if not ready:
            return ()
        data = os.read(self._keys, KEYS_BYTES_MAX)
        if not data:
            return ("q",)  # the terminal is gone
        text = data.decode(errors="ignore")
        return () if text.startswith("\033") and len(text) > 1 else tuple(text)

    def _painted(self, line: Line) -> str:
        code = CODES.get(line.style) if self._coloured else None
        return f"\033[{code}m{line.text}\033[0m" if code else line.text

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
