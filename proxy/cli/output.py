"""How commands write: aligned columns for a person at a terminal, plain lines with tabs for a pipe.

Colour is used on a terminal only, and never when `NO_COLOR` is set (no-color.org). Standard output carries the answer,
standard error everything said beside it. What may be shown at all is `cli.table`'s business.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

from proxy.cli.table import Page

DIM, RED, GREEN = "2", "31", "32"


class Output:
    def __init__(self, out: TextIO, err: TextIO, environment: Mapping[str, str]) -> None:
        self._out = Page(out)
        self._err_stream, self._out_stream = err, out
        self._coloured = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"

    @property
    def human(self) -> bool:
        return self._out_stream.isatty()

    def line(self, text: str) -> None:
        self._out.write(text)

    def note(self, text: str) -> None:
        """For the person at the keyboard, kept out of what a pipe reads."""
        self._say(text, DIM, self._err_stream)

    def failure(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._say(text, RED, self._err_stream)

    def success(self, text: str) -> None:
        self._say(text, GREEN, self._out_stream)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A pipe gets no header."""
        if self.human:
            for line in self._out.table(header, rows):
                self.line(line)
            return
        for row in rows:
            self._out_stream.write("\t".join(map(self._out.clean, row)) + "\n")

    def _say(self, text: str, colour: str, stream: TextIO) -> None:
        cleaned = Page(stream).clean(text)
        painted = self._coloured and stream.isatty()
        stream.write(f"\033[{colour}m{cleaned}\033[0m\n" if painted else f"{cleaned}\n")


def standard(environment: Mapping[str, str]) -> Output:
    return Output(sys.stdout, sys.stderr, environment)
