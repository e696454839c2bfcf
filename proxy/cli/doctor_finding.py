"""What one look of `headgate doctor` has found: a declaration, and how bad a set of them is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

State = Literal["ok", "skipped", "warning", "failed"]

OUTCOMES: Final[tuple[State, ...]] = ("ok", "skipped", "warning", "failed")  # the worst one last


class Finding(Struct, frozen=True):
    """`remedy` is what the reader can do about it; empty where nothing has to be done."""

    check: str
    state: State
    words: str
    remedy: str = ""


def worst(findings: Iterable[Finding]) -> State:
    return max((finding.state for finding in findings), key=OUTCOMES.index, default="ok")
