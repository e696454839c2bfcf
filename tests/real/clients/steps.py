"""An orchestrator in the manner of a graph with a checkpointer, on the OpenAI SDK: it dies between an answer and the
checkpoint that would have remembered it, and its successor takes that step again, under the same name.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from openai import OpenAI

STEPS = 6
DIES_AFTER = 3  # answers, of which two are in the checkpoint
QUESTIONS = [f"What is step {number}?" for number in range(STEPS)]


def _checkpoint(base_url: str) -> Path:
    """One a run, for both processes."""
    return Path(tempfile.gettempdir()) / f"steps-{os.getuid()}-{base_url.encode().hex()[-80:]}.json"


def _take(base_url: str, api_key: str, *, dies: bool, names: bool) -> list[str]:
    client, file = OpenAI(base_url=base_url, api_key=api_key, max_retries=2), _checkpoint(base_url)
    answers: list[str] = json.loads(file.read_text()) if file.exists() else []
    for number in range(len(answers), STEPS):
        messages: Any = [{"role": "user", "content": text} for text in QUESTIONS[: number + 1]]
        named = {"Idempotency-Key": f"step-{number}"} if names else {}
        streamed = client.chat.completions.create(
            model="chat", messages=messages, stream=number % 2 == 1, extra_headers=named
        )
        answers.append(_text(streamed))
        if dies and len(answers) == DIES_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)
        file.write_text(json.dumps(answers))
    file.unlink()
    return answers


def _text(answer: Any) -> str:
    if hasattr(answer, "choices"):
        return str(answer.choices[0].message.content)
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


def die(base_url: str, api_key: str) -> list[str]:
    return _take(base_url, api_key, dies=True, names=True)


def resume(base_url: str, api_key: str) -> list[str]:
    return _take(base_url, api_key, dies=False, names=True)


def die_without_names(base_url: str, api_key: str) -> list[str]:
    return _take(base_url, api_key, dies=True, names=False)


def resume_without_names(base_url: str, api_key: str) -> list[str]:
    return _take(base_url, api_key, dies=False, names=False)
