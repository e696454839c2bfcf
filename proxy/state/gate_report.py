"""How one run admission gate stands, as the admin listener tells it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class GateRow(Struct, frozen=True):
    """`in_use` and `limit` are tokens of prompts; runs, where the memory of an engine is not known."""

    pool: str
    unit: Literal["tokens", "runs"]
    active: int  # runs
    in_use: float
    limit: float
    share: float | None  # of the memory that `limit` is
    cached_share: float | None  # of input, at the last reading
    waiting: int  # runs that have yet to begin
    parked: int  # runs that are held between two steps
    calls: int  # of both
