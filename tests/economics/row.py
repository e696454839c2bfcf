"""One line of the economics benchmark: as of the caches' one, and beside the figure what arithmetic says of it."""

from __future__ import annotations

from tests.caches.row import Row, at_least, at_most, lines, missed, shown

__all__ = ["Row", "at_least", "at_most", "dollars", "lines", "missed", "near", "shown"]

NEAR = 0.05


def near(figure: str, measured: float, predicted: float, *, shown_as: str = "{:,.1f}") -> Row:
    """A figure that must lie within a twentieth of what was predicted."""
    reached = abs(measured - predicted) <= NEAR * abs(predicted)
    return Row(figure, shown_as.format(measured), f"~ {shown_as.format(predicted)}", reached)


def dollars(figure: str, measured: float, predicted: float) -> Row:
    return near(figure, measured, predicted, shown_as="${:,.0f}")
