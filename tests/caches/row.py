"""One line of the caches' benchmark: what was measured, what it should be, and whether it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

UNITS = {"s": " s", "ms": " ms", "us": " us", "usd": " USD", "": ""}

Unit = Literal["s", "ms", "us", "usd", ""]


class Row(Struct, frozen=True):
    """`reached` None: shown for comparison, nothing is asked of it."""

    figure: str
    measured: str
    target: str = ""
    reached: bool | None = None


def at_most(figure: str, measured: float, bound: float, *, unit: Unit = "", digits: int = 3) -> Row:
    """A figure that must not be above `bound`."""
    after = UNITS[unit]
    return Row(figure, f"{measured:.{digits}f}{after}", f"<= {bound:g}{after}", measured <= bound)


def at_least(figure: str, measured: float, bound: float, *, unit: Unit = "", digits: int = 3) -> Row:
    """A figure that must not be below `bound`."""
    after = UNITS[unit]
    return Row(figure, f"{measured:.{digits}f}{after}", f">= {bound:g}{after}", measured >= bound)


def shown(figure: str, measured: str) -> Row:
    """A figure beside the others."""
    return Row(figure, measured)


def missed(rows: Iterable[Row]) -> list[str]:
    return [row.figure for row in rows if row.reached is False]


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """One a row, as they come."""
    for row in rows:
        verdict = {True: "reached", False: "MISSED", None: ""}[row.reached]
        yield f"  {row.figure:<72}  {row.measured:>18}  {row.target:>14}  {verdict}".rstrip()
