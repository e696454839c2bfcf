"""The block `batch` of an agent: how long its calls of priority `batch` may take, which may wait for a quiet time.

When that is, and when they go all the same, is decided by `policies.off_peak`.
"""

from __future__ import annotations

from pydantic import Field

from proxy.config.providers import Block
from proxy.config.values import Seconds


class Batch(Block):
    """What has hours waits until nobody is kept from anything by it."""

    window_s: Seconds | None = Field(
        default=None,
        description="Calls of priority `batch` may take this long, not `deadline_s`, and wait for a quiet time.",
    )


class Patient(Block):
    batch: Batch = Field(default=Batch(), description="How much time calls of priority `batch` have.")
