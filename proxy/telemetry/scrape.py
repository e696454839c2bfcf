"""A scrape, written by the event loop between two calls.

Ten thousand lines in one go would hold every call up for as long as they take; a thread of its own holds them up too,
by the interpreter's lock, and longer. So the loop writes some hundred lines, serves whoever came meanwhile, and goes
on two milliseconds later: a call meets one turn of a scrape, or two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from proxy.telemetry import process
from proxy.telemetry.exposition import Exposition
from proxy.telemetry.otel_view import OtelView, View
from proxy.telemetry.series import Table
from proxy.telemetry.text import Format, format_for
from proxy.types import Target

PAUSE_S = 0.002


class Scrapes:
    """All scrapes of one table."""

    def __init__(self, table: Table, targets: Mapping[str, Target]) -> None:
        self._table = table
        self._otel = OtelView(table, targets)
        self._written: dict[str, Exposition] = {}  # by content type: there are two

    def __repr__(self) -> str:
        return f"Scrapes({self._table!r})"

    async def scraped(self, accept: str, view: View) -> tuple[bytes, str]:
        """The exposition and its content type."""
        format, pieces = format_for(accept), list[bytes]()
        for _ in self.turns(format, view, pieces):
            await asyncio.sleep(PAUSE_S)
        text = b"".join(pieces)
        await asyncio.sleep(PAUSE_S)  # to send a megabyte is a turn of its own
        return text, format.content_type

    def at_once(self, accept: str, view: View) -> tuple[bytes, str]:
        """The same, in one go."""
        format, pieces = format_for(accept), list[bytes]()
        for _ in self.turns(format, view, pieces):
            """One after the other."""
        return b"".join(pieces), format.content_type

    def turns(self, format: Format, view: View, pieces: list[bytes]) -> Iterator[None]:
        """Each step adds to `pieces` what takes about half a millisecond."""
        return self._otel.turns(pieces, format) if view == "otel" else self._of_the_gate(pieces, format)

    def _of_the_gate(self, pieces: list[bytes], format: Format) -> Iterator[None]:
        exposition = self._written.get(format.content_type)
        if exposition is None:
            exposition = self._written[format.content_type] = Exposition(self._table, format)
            yield
        yield from exposition.turns(pieces)
        yield
        pieces.append(process.written(format))
