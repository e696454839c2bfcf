"""One scrape, in a thread of its own, with short turns.

Ten thousand lines take a thread tens of milliseconds of Python. Whenever the loop's thread wants to go on meanwhile, it
waits for the turn of the other to end: five milliseconds as CPython has it, and that several times a call. While a
scrape is written, turns are a fraction of that.
"""

from __future__ import annotations

import sys
from typing import Protocol

from proxy.telemetry.otel_view import View

TURN_S = 0.0003
USUAL_S = 0.005  # CPython's


class Exposing(Protocol):
    def exposition(self, accept: str, view: View = "headgate") -> tuple[bytes, str]: ...


def scraped(metrics: Exposing, accept: str, view: View) -> tuple[bytes, str]:
    """The exposition and its content type. Not on the loop's thread."""
    sys.setswitchinterval(TURN_S)
    try:
        return metrics.exposition(accept, view)
    finally:
        sys.setswitchinterval(USUAL_S)
