"""Asks a loopback port whether an OpenAI-compatible engine listens there, and for its models.

Only for `headgate up`, before anything is served: blocking, standard library, loopback addresses only, one short
timeout a step. A gate of our own is no engine: it alone answers `/health/live`.
"""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException

import msgspec
from msgspec import Struct

TIMEOUT_S = 0.5
LIST_BYTES_MAX = 1024 * 1024


class _Model(Struct):
    id: str


class _Models(Struct):
    data: list[_Model]


def models_on(port: int) -> tuple[str, ...] | None:
    body = _get(port, "/v1/models")
    if body is None or _get(port, "/health/live") is not None:
        return None
    try:
        return tuple(model.id for model in msgspec.json.decode(body, type=_Models).data)
    except (msgspec.DecodeError, RecursionError):
        return None


def _get(port: int, path: str) -> bytes | None:
    """The body of a 200; None for anything else."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": "identity", "Connection": "close"})
        response = connection.getresponse()
        return response.read(LIST_BYTES_MAX) if response.status == 200 else None
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
