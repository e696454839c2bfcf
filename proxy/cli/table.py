"""How the commands print for people: aligned columns, amounts with the digits that matter, nothing that can bite.

What comes from clients may hold anything; a terminal gets only printable characters, a pipe only ASCII, all else as
backslash escapes. Columns whose cells are all numbers or amounts stand right. No colour is ever used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

Row = Sequence[str]


class Page:
    """Where the lines go; `ascii_only` in a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ascii_only = not stream.isatty()

    def write(self, line: str) -> None:
        self._stream.write(self.clean(line) + "\n")

    def clean(self, text: str) -> str:
        return "".join(letter if self._shows(letter) else _escape(letter) for letter in text)

    def table(self, head: Row, rows: Sequence[Row]) -> Iterator[str]:
        cleaned = [[self.clean(cell) for cell in row] for row in (head, *rows)]
        columns = list(zip(*cleaned, strict=True))
        widths = [max(map(len, column)) for column in columns]
        right = [all(cell[:1] in "$-0123456789" for cell in column[1:]) for column in columns]
        for row in cleaned:
            cells = zip(row, widths, right, strict=True)
            yield "  ".join(cell.rjust(width) if end else cell.ljust(width) for cell, width, end in cells).rstrip()

    def _shows(self, letter: str) -> bool:
        return letter.isprintable() and (letter.isascii() or not self._ascii_only)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def dollars(nanos: int | None) -> str:
    """Two digits after the point for large amounts, up to nine for tiny ones."""
    if nanos is None:
        return "unpriced"
    size = abs(nanos)
    digits = 2 if size >= 100 * 10**9 or size == 0 else 4 if size >= 10**9 else 6 if size >= 1_000 else 9
    step = 10 ** (9 - digits)
    whole, rest = divmod((size + step // 2) // step, 10**digits)
    return f"{'-' if nanos < 0 else ''}${whole}.{rest:0{digits}d}"


def exact_dollars(picos: int) -> str:
    """Every digit, six at least: what is shown as a sum must add up."""
    whole, rest = divmod(picos, 10**12)
    return f"${whole}.{f'{rest:012d}'.rstrip('0').ljust(6, '0')}"


def counted(count: int, thing: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def seconds(length_s: float) -> str:
    if length_s < 120:
        return f"{length_s:.2f}s"
    minutes, rest = divmod(round(length_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m{rest:02d}s" if hours else f"{minutes}m{rest:02d}s"
