"""Whether calls go where their prompt is in memory. Which engines keep prompts, and how much, stands with each."""

from __future__ import annotations

from pydantic import Field

from proxy.config.providers import Block
from proxy.config.values import Switch


class PrefixAffinity(Block):
    """Engines of one's own keep the prompts that they have read; a call goes where most of its own is kept."""

    enabled: Switch = Field(default=True, description="A call goes where most of its prompt is in memory.")
    several_gates: Switch = Field(
        default=False, description="Other gates send to the same engines: each run has two of them, drawn by its id."
    )
