"""What an answer says: words of four bytes drawn from a hash of the prompt, a token each; equal prompts, equal answers.

A request with `continue_final_message` (vLLM's and SGLang's field) gets the rest of the very answer of which its last
message is the beginning, to the character: whoever splices the two can be checked against the whole. `max_tokens` ends
an answer with `length`.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Answer:
    """The tokens still to be made, and why they end there."""

    tokens: tuple[str, ...]
    finish: str = "stop"

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    def within(self, limit: int | None) -> Answer:
        if limit is None or len(self.tokens) <= limit:
            return self
        return Answer(self.tokens[:limit], "length")


def answer_to(asked: Mapping[str, object], tokens: int) -> Answer:
    """`tokens`: of the whole answer, from its first word on."""
    prompt, begun = _prompt(asked)
    return Answer(_after(begun, _words(prompt, tokens)))


def output_limit(asked: Mapping[str, object]) -> int | None:
    limit = asked.get("max_completion_tokens") or asked.get("max_tokens")
    return limit if isinstance(limit, int) and limit > 0 else None


def _prompt(asked: Mapping[str, object]) -> tuple[object, str]:
    """What is answered, and the text that the answer is known to begin with."""
    messages = asked.get("messages")
    if not isinstance(messages, list):
        return asked.get("prompt") or asked.get("input"), ""
    continues = asked.get("continue_final_message") is True and asked.get("add_generation_prompt") is False
    last = messages[-1] if messages else None
    if continues and isinstance(last, dict) and last.get("role") == "assistant":
        return messages[:-1], str(last.get("content") or "")
    return messages, ""


def _words(prompt: object, count: int) -> tuple[str, ...]:
    digest = hashlib.blake2b(json.dumps(prompt, sort_keys=True).encode(), digest_size=8).digest()
    rng = random.Random(digest)
    return tuple("".join(rng.choices(LETTERS, k=3)) + " " for _ in range(count))


def _after(begun: str, tokens: Sequence[str]) -> tuple[str, ...]:
    """The tokens after `begun`; of one that it cuts, the rest. A beginning of another answer is followed by no word."""
    for index, token in enumerate(tokens):
        if not begun.startswith(token):
            rest = token[len(begun) :] if token.startswith(begun) else ""
            return (rest, *tokens[index + 1 :]) if rest else ()
        begun = begun[len(token) :]
    return ()
