"""The chat request that a judge is sent: what it is to do, and the texts that it is to judge.

The texts go as one JSON object in a message of their own, so that none of them can pass for an instruction or for
another text. What is asked and what an answer means is the asker's: `grading` marks, `semantic.judging` compares.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, json


class _Message(Struct):
    role: str
    content: str


class _Request(Struct):
    model: str
    messages: tuple[_Message, ...]
    temperature: int
    max_tokens: int


def judge_request(model: str, instructions: str, texts: Mapping[str, str], *, tokens_max: int) -> bytes:
    """The body. `tokens_max`: of the answer."""
    messages = _Message("system", instructions), _Message("user", json.encode(texts).decode())
    return json.encode(_Request(model, messages, temperature=0, max_tokens=tokens_max))
