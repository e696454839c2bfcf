"""How the demo looks while it runs: one block that is redrawn on a terminal, plain lines in a pipe, nothing for JSON.

Only cursor movements are sent, no colour, so `NO_COLOR` has nothing to switch off; a dumb terminal gets plain lines.
"""

from __future__ import annotations

import shutil
import textwrap
from collections import deque
from collections.abc import Iterator
from typing import Protocol, TextIO

from msgspec import Struct

from proxy.cli.table import Page, dollars
from proxy.demo.result import Event

EVENTS_SHOWN = 6
LINES_A_DEMO = 12


class Pace(Struct, frozen=True):
    """One column, now."""

    calls_a_second: float
    in_flight: int
    calls: int
    failed: int
    first_token_p50_s: float | None
    usd_nanos: int


class Picture(Struct, frozen=True):
    at_s: float
    seconds: float
    direct: Pace
    gate: Pace
    providers: tuple[tuple[str, str], ...]  # name, state


class Watcher(Protocol):
    every_s: float  # how often it wants a picture

    def show(self, picture: Picture) -> None: ...
    def event(self, event: Event) -> None: ...


class Silent:
    every_s = 3600.0

    def show(self, picture: Picture) -> None:
        """Says nothing."""

    def event(self, event: Event) -> None:
        """Says nothing."""


class Lines:
    """A line now and then, and each event as it comes."""

    def __init__(self, stream: TextIO, seconds: float) -> None:
        self.every_s = seconds / LINES_A_DEMO
        self._page = Page(stream)
        self._stream = stream

    def show(self, picture: Picture) -> None:
        self._line(picture.at_s, f"direct {_in_words(picture.direct)} | through the gate {_in_words(picture.gate)}")

    def event(self, event: Event) -> None:
        self._line(event.at_s, event.text)

    def _line(self, at_s: float, text: str) -> None:
        self._page.write(f"SIMULATED {at_s:5.1f} s  {text}")
        self._stream.flush()


class Live:
    """The block; what was drawn before is overwritten in place."""

    every_s = 0.5

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._page = Page(stream)
        self._drawn = 0
        self._picture: Picture | None = None
        self._events: deque[Event] = deque(maxlen=EVENTS_SHOWN)

    def show(self, picture: Picture) -> None:
        self._picture = picture
        self._draw()

    def event(self, event: Event) -> None:
        self._events.append(event)
        self._draw()

    def _draw(self) -> None:
        if self._picture is None:
            return
        width = shutil.get_terminal_size().columns - 1
        lines = [self._page.clean(line)[:width] for line in self._lines(self._picture)]
        for event in self._events:
            said = self._page.clean(f"{event.at_s:5.1f} s  {event.text}")
            lines += textwrap.wrap(said, width, subsequent_indent=" " * 9, drop_whitespace=True)
        back = f"\033[{self._drawn}F\033[J" if self._drawn else ""
        self._stream.write(back + "\n".join((*lines, "")))
        self._stream.flush()
        self._drawn = len(lines)

    def _lines(self, picture: Picture) -> Iterator[str]:
        yield f"headgate demo, SIMULATED: {picture.at_s:.0f} s of {picture.seconds:.0f} (Ctrl-C ends it with the table)"
        head = ("", "calls/s", "in flight", "calls", "failed", "first token p50", "spent")
        rows = [_cells("direct", picture.direct), _cells("through the gate", picture.gate)]
        yield from self._page.table(head, rows)
        yield "providers  " + "   ".join(f"{name}: {state}" for name, state in picture.providers)


def _cells(name: str, pace: Pace) -> tuple[str, ...]:
    first = "-" if pace.first_token_p50_s is None else f"{pace.first_token_p50_s:.2f} s"
    counts = (str(pace.in_flight), str(pace.calls), str(pace.failed))
    return (name, f"{pace.calls_a_second:.1f}", *counts, first, dollars(pace.usd_nanos))


def _in_words(pace: Pace) -> str:
    return (
        f"{pace.calls_a_second:.1f} calls/s, {pace.in_flight} in flight, {pace.calls} calls, {pace.failed} failed, "
        f"{dollars(pace.usd_nanos)}"
    )
