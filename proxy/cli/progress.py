"""How far something long has come: one line on standard error that is written over, and only for a person to see.

Where it is known how much there is, the line is a bar with the time that is left, at the rate so far.
"""

from __future__ import annotations

from typing import Final, TextIO

from proxy.clock import Clock

EVERY_S: Final = 0.2
BAR_CELLS: Final = 24


class Progress:
    def __init__(self, what: str, stream: TextIO, clock: Clock, *, whole: int | None = None) -> None:
        """`whole`: how many there are."""
        self.count = 0
        self._whole = whole
        self._what = what
        self._stream = stream
        self._shows = stream.isatty()
        self._clock = clock
        self._began_at = clock.now()
        self._shown_at = self._began_at

    def __repr__(self) -> str:
        return f"Progress({self.count} {self._what})"

    @property
    def seconds(self) -> float:
        return self._clock.now() - self._began_at

    @property
    def rate(self) -> str:
        """`1,234 rows in 0.5 s (2,468 a second)`."""
        seconds = self.seconds
        a_second = f" ({self.count / seconds:,.0f} a second)" if seconds > 0 else ""
        return f"{self.count:,} {self._what} in {seconds:.1f} s{a_second}"

    @property
    def line(self) -> str:
        """`[######..................]  25 %, 5 of 20 kills, 12 s left`."""
        if not self._whole:
            return self.rate
        share = min(1.0, self.count / self._whole)
        cells = int(share * BAR_CELLS)
        left = f", {self.seconds / share - self.seconds:.0f} s left" if share else ""
        bar = "#" * cells + "." * (BAR_CELLS - cells)
        return f"[{bar}] {share:>4.0%}, {self.count:,} of {self._whole:,} {self._what}{left}"

    def add(self, count: int) -> None:
        self.count += count
        now = self._clock.now()
        if self._shows and now - self._shown_at >= EVERY_S:
            self._shown_at = now
            self._stream.write(f"\r\033[K{self.line}")
            self._stream.flush()

    def end(self) -> None:
        if self._shows:
            self._stream.write("\r\033[K")
            self._stream.flush()
