"""What is said of batches on the admin listener. Declarations only."""

from __future__ import annotations

from msgspec import Struct


class BatchRow(Struct, frozen=True):
    """Instants are whole seconds since 1970; `completed` and `failed` count lines, of `total`."""

    id: str
    key_id: str
    agent: str
    run: str | None
    endpoint: str
    status: str
    total: int
    completed: int
    failed: int
    created_at: int
    expires_at: int
    ended_at: int | None
    input_file_id: str
    output_file_id: str | None
    error_file_id: str | None
    errors: tuple[str, ...]  # of its input


class BatchReport(Struct, frozen=True):
    """The newest first; `more`: there are older ones."""

    rows: tuple[BatchRow, ...]
    more: bool
