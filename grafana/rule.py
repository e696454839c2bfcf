"""One recorded series, and one alert with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recording:
    name: str
    expression: str


@dataclass(frozen=True)
class Alert:
    """`severity`: `page` wakes somebody, `ticket` waits until morning."""

    name: str
    expression: str
    lasting: str  # how long it must hold
    severity: Literal["page", "ticket"]
    summary: str
    means: str
    causes: str
    todo: str

    @property
    def runbook(self) -> str:
        return f"{self.means} Causes: {self.causes} What to do: {self.todo}"
