"""The fields of a cascade: which models are tried, the cheapest first."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.config.providers import Block
from proxy.config.values import ModelName

STEPS_MAX = 9


class Cascading(Block):
    """A block with them."""

    steps: Annotated[tuple[ModelName, ...], Field(strict=False)] = Field(
        default=(), max_length=STEPS_MAX, description="`cascade`: models, or provider/model, the cheapest first."
    )
