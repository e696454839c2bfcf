"""A terminal small enough to be read: what the command has sent becomes what a person would see.

It knows the sequences that `proxy.cli.screen` may send, and refuses all others: nothing of what clients wrote may ever
be one.
"""

from __future__ import annotations

import re

SEQUENCE = re.compile(r"\033\[([?0-9;]*)([A-Za-z])")


class Emulator:
    """A `TextIO` as far as writing goes."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self.columns, self.lines = columns, lines
        self.alternate = False
        self.cursor = True
        self.coloured = False
        self._clear()

    def _clear(self) -> None:
        self._cells = [[" "] * self.columns for _ in range(self.lines)]
        self._row = self._column = 0

    @property
    def rows(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._cells]

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        """Everything is shown at once."""

    def write(self, text: str) -> int:
        at = 0
        while at < len(text):
            match = SEQUENCE.match(text, at)
            if match is not None:
                self._obey(match[1], match[2])
                at = match.end()
            else:
                self._put(text[at])
                at += 1
        return len(text)

    def _put(self, letter: str) -> None:
        if letter == "\r":
            self._column = 0
        elif letter == "\n":
            assert self._row < self.lines - 1, "the screen would scroll"
            self._row += 1
        else:
            assert letter.isprintable(), repr(letter)
            assert self._column < self.columns, "the line would wrap"
            self._cells[self._row][self._column] = letter
            self._column += 1

    def _obey(self, numbers: str, letter: str) -> None:
        if letter == "H" and not numbers:
            self._row = self._column = 0
        elif letter == "K":
            self._cells[self._row][self._column :] = [" "] * (self.columns - self._column)
        elif letter == "J":
            self._cells[self._row][self._column :] = [" "] * (self.columns - self._column)
            for row in range(self._row + 1, self.lines):
                self._cells[row] = [" "] * self.columns
        elif letter == "m":
            self.coloured = True
        elif (numbers, letter) in (("?1049", "h"), ("?1049", "l")):
            self.alternate = letter == "h"
            self._clear()
        elif (numbers, letter) in (("?25", "h"), ("?25", "l")):
            self.cursor = letter == "h"
        else:
            raise AssertionError(f"unknown sequence {numbers}{letter}")
