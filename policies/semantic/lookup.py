"""What a call has asked of the semantic cache and been told, until its own answer says whether that was right."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from policies.semantic.scope import Question


class Vector(Protocol):
    """Whatever an index finds by."""

    def __len__(self) -> int: ...


class Lookup(Struct, frozen=True):
    """`entry` "": none was nominated. `chance`: with which it would have been served."""

    question: Question
    vector: Vector
    route: bytes  # whose quality and curve its label belongs to
    asker: int
    entry: str = ""
    similarity: float = 0.0
    chance: float = 0.0
