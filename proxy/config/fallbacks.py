"""The fields of a model's fallbacks: which other model answers, by the error that the first one met.

What counts as which error, and the order in which they are tried, is `policies.fallback`'s word.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from policies.fallback import FALLBACKS_MAX
from proxy.config.providers import Block
from proxy.config.values import ModelName, Names
from proxy.types import Condition


class Fallbacks(Block):
    context_window: ModelName | None = Field(default=None, description="The model for prompts that are too long.")
    content_filter: ModelName | None = Field(default=None, description="The one for prompts that a filter refuses.")
    overload: ModelName | None = Field(default=None, description="The one while targets have no room, or no answer.")
    any: Annotated[Names, Field(max_length=FALLBACKS_MAX)] = Field(
        default=(), description="Those for all of this and for every other fault of an upstream, one after another."
    )

    def listed(self) -> tuple[tuple[Condition, str], ...]:
        """Those for one kind of error before those for all."""
        typed: tuple[tuple[Condition, str | None], ...] = (
            ("context_window", self.context_window),
            ("content_filter", self.content_filter),
            ("overload", self.overload),
        )
        every: tuple[tuple[Condition, str], ...] = tuple(("any", model) for model in self.any)
        return (*((kind, model) for kind, model in typed if model is not None), *every)
