"""The fields of a quorum and of a debate: which models are asked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.config.providers import Block
from proxy.config.values import ModelName

MEMBERS_MAX = 9


class Voting(Block):
    """A block with them."""

    members: Annotated[tuple[ModelName, ...], Field(strict=False)] = Field(
        default=(), max_length=MEMBERS_MAX, description="`quorum`, `debate`: models, or provider/model; repeats count."
    )
