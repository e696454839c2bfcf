"""Bounds on batches and on the files they read and write: the fields, and the rules made of them."""

from __future__ import annotations

from pydantic import Field

from proxy.config.providers import Block
from proxy.snapshot import BatchRules

MIB = 1024 * 1024
DAY_S = 86_400.0


class Batches(Block):
    """What `/v1/files` and `/v1/batches` may take of the gate."""

    file_mb: int = Field(default=64, ge=1, le=1024, description="Largest file that is taken, in MiB; memory, too.")
    files_mb: int = Field(default=4096, ge=1, le=1_048_576, description="All files that are kept together, in MiB.")
    days: int = Field(default=30, ge=1, le=3650, description="Files, and batches that have ended, are kept so long.")
    lines_max: int = Field(default=50_000, ge=1, le=1_000_000, description="Most requests of one batch.")
    concurrency: int = Field(
        default=8, ge=0, le=1024, description="Lines of all batches asked at the same time; 0: there are no batches."
    )

    def rules(self) -> BatchRules:
        return BatchRules(
            file=self.file_mb * MIB,
            files=self.files_mb * MIB,
            kept_s=self.days * DAY_S,
            lines_max=self.lines_max,
            concurrency=self.concurrency,
        )
