"""The nouns of batches: a file that was uploaded or written, a batch with its life, and the forms that clients see.

A batch moves along `NEXT` only, and each status it has been in leaves its instant. Who may see what is decided by
`owner` alone: the team of the key, or the key where it has none. The forms are those of OpenAI's API reference, "Files"
and "Batch"; instants in them are whole seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, get_args

from msgspec import Struct, structs

from proxy.types import Endpoint, Identity

Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
Ending = Literal["completed", "expired", "cancelled"]
Purpose = Literal["batch", "batch_output"]

STATUSES: Final[tuple[Status, ...]] = get_args(Status)
NEXT: Final[Mapping[Status, tuple[Status, ...]]] = MappingProxyType(
    {
        "validating": ("in_progress", "failed", "cancelling", "expired"),
        "in_progress": ("finalizing", "cancelling"),
        "finalizing": ("completed", "expired"),
        "cancelling": ("cancelled",),
        "failed": (),
        "completed": (),
        "expired": (),
        "cancelled": (),
    }
)
ENDED: Final = frozenset(status for status, after in NEXT.items() if not after)
ENDPOINTS: Final[Mapping[str, Endpoint]] = MappingProxyType(
    {
        "/v1/chat/completions": "chat",
        "/v1/completions": "completions",
        "/v1/embeddings": "embeddings",
        "/v1/responses": "responses",
    }
)
WINDOW: Final = "24h"
WINDOW_S: Final = 86_400


class File(Struct, frozen=True):
    id: str
    owner: str
    filename: str
    purpose: Purpose
    bytes: int
    created_at: int
    expires_at: int


class Problem(Struct, frozen=True):
    """What is wrong with an input file. `line` counts from 1; None: it is about the whole file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Batch(Struct, frozen=True, omit_defaults=True):
    """`identity`: on whose behalf each line is a call. `completed` and `failed` count lines."""

    id: str
    owner: str
    endpoint: str  # its path
    input_file_id: str
    identity: Identity
    created_at: int
    expires_at: int
    status: Status = "validating"
    total: int = 0
    completed: int = 0
    failed: int = 0
    metadata: dict[str, str] | None = None
    ending: Ending | None = None  # what it is being finalized for
    output_s: int | None = None  # what it writes is kept for so long; None: as long as any file
    named: str | None = None  # the idempotency key that it was ordered with
    errors: tuple[Problem, ...] = ()
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None

    def moved(self, status: Status, wall: float) -> Batch | None:
        """None: it cannot go there from where it is."""
        if status not in NEXT[self.status]:
            return None
        return structs.replace(self, status=status, **{f"{status}_at": int(wall)})

    @property
    def order(self) -> tuple[object, ...]:
        """What was asked for, and by whom: equal where one order came twice."""
        return self.identity, self.endpoint, self.input_file_id, self.metadata, self.output_s

    @property
    def ended_at(self) -> int | None:
        return self.completed_at or self.failed_at or self.expired_at or self.cancelled_at


def file_form(file: File) -> dict[str, object]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def batch_form(batch: Batch) -> dict[str, object]:
    instants = {f"{status}_at": getattr(batch, f"{status}_at") for status in STATUSES if status != "validating"}
    problems = [structs.asdict(problem) for problem in batch.errors]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": problems} if problems else None,
        "input_file_id": batch.input_file_id,
        "completion_window": WINDOW,
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": batch.created_at,
        "expires_at": batch.expires_at,
        **instants,
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata,
    }
