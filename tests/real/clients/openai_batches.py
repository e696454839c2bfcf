"""What programs do with files and batches through the OpenAI SDK: upload, order, wait, read, list, cancel, delete."""

from __future__ import annotations

import io
import json
import time
from typing import Any

from openai import OpenAI

ENDED = ("completed", "failed", "expired", "cancelled")
WAIT_S = 30


def _lines(*models: str) -> bytes:
    message = [{"role": "user", "content": "Hello"}]
    lines = [
        {
            "custom_id": f"line-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": model, "messages": message},
        }
        for number, model in enumerate(models)
    ]
    return "\n".join(json.dumps(line) for line in lines).encode()


def _ordered(client: OpenAI, content: bytes) -> Any:
    file = client.files.create(file=("night.jsonl", io.BytesIO(content)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"of": "the night"},
    )


def _ended(client: OpenAI, batch: Any) -> Any:
    until = time.monotonic() + WAIT_S
    while batch.status not in ENDED and time.monotonic() < until:
        time.sleep(0.05)
        batch = client.batches.retrieve(batch.id)
    return batch


def _read(client: OpenAI, id: str | None) -> list[dict[str, Any]]:
    return [] if id is None else [json.loads(line) for line in client.files.content(id).text.splitlines()]


def a_night(base_url: str, api_key: str) -> Any:
    """Three good lines, and one for a model that nobody has."""
    client = OpenAI(base_url=base_url, api_key=api_key)
    batch = _ended(client, _ordered(client, _lines("chat", "chat", "nobody", "chat")))
    return {
        "batch": batch.model_dump(),
        "output": _read(client, batch.output_file_id),
        "errors": _read(client, batch.error_file_id),
    }


def broken_input(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    return _ended(client, _ordered(client, _lines("chat") + b"\nnot JSON")).model_dump()


def cancelled(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    batch = _ordered(client, _lines(*["late"] * 20))
    while client.batches.retrieve(batch.id).status != "in_progress":
        time.sleep(0.05)
    asked_at = time.monotonic()
    batch = _ended(client, client.batches.cancel(batch.id))
    return {"batch": batch.model_dump(), "took_s": time.monotonic() - asked_at}


def files(base_url: str, api_key: str) -> Any:
    """Pages, which the SDK turns by itself; what is deleted is gone from them."""
    client = OpenAI(base_url=base_url, api_key=api_key)
    made = [client.files.create(file=(f"{n}.jsonl", _lines("chat")), purpose="batch").id for n in range(3)]
    listed = [file.id for file in client.files.list(limit=2, purpose="batch")]
    deleted = client.files.delete(made[0])
    return {
        "made": made,
        "listed": listed,
        "deleted": deleted.deleted,
        "left": [file.id for file in client.files.list(order="asc")],
        "back": client.files.content(made[1]).read().decode() == _lines("chat").decode(),
        "batches": [batch.id for batch in client.batches.list(limit=1)],
    }


def no_such_file(base_url: str, api_key: str) -> Any:
    return OpenAI(base_url=base_url, api_key=api_key).files.retrieve("file-none").model_dump()


def no_such_endpoint(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    file = client.files.create(file=("x.jsonl", _lines("chat")), purpose="batch")
    nowhere: Any = "/v1/nowhere"
    return client.batches.create(input_file_id=file.id, endpoint=nowhere, completion_window="24h").model_dump()
