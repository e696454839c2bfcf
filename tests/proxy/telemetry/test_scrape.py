"""A scrape takes short turns, and only a scrape does."""

from __future__ import annotations

import sys

import pytest

from proxy.telemetry.otel_view import View
from proxy.telemetry.scrape import TURN_S, USUAL_S, scraped


class Exposing:
    def __init__(self) -> None:
        self.turns: list[float] = []

    def exposition(self, accept: str, view: View = "headgate") -> tuple[bytes, str]:
        self.turns.append(sys.getswitchinterval())
        if accept == "broken":
            raise ValueError
        return accept.encode(), view


def test_turns_are_short_while_a_scrape_is_written_and_as_usual_afterwards() -> None:
    metrics = Exposing()
    assert scraped(metrics, "text", "otel") == (b"text", "otel")
    with pytest.raises(ValueError):
        scraped(metrics, "broken", "headgate")
    assert metrics.turns == pytest.approx([TURN_S, TURN_S])
    assert sys.getswitchinterval() == pytest.approx(USUAL_S)
