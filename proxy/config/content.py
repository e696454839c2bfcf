"""For how long kept words lie on the disk, and what of them is masked: the fields.

Whose words are kept is said by `content` of an agent and of `defaults`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.config.providers import Block
from proxy.config.values import Switch
from proxy.content.masks import Optional

MIB = 1024 * 1024


class Content(Block):
    """The folder `content` in `data_dir`."""

    days: float = Field(default=7.0, gt=0, le=3_650, description="Segments of days that ended so long ago are deleted.")
    max_mb: int = Field(default=1_024, ge=64, le=1_048_576, description="Above that, in MiB, the oldest are deleted.")
    mask: Annotated[tuple[Optional, ...], Field(strict=False)] = Field(
        default=(), description="What `redacted` masks beside credentials: `mail` addresses, `phone` numbers."
    )
    on_spans: Switch = Field(default=False, description="Spans of traces get the words of calls that are kept `full`.")

    @property
    def bytes_max(self) -> int:
        return self.max_mb * MIB
