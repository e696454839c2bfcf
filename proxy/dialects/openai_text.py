"""Which parts of a delta or message are text that a model generated, and how long it is.

Decides by name alone, for every field that the OpenAI API and its relatives put generated text in. The narrow types of
`openai_usual` repeat these names: a new one has to go there, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

GENERATED = (
    "content", "reasoning_content", "reasoning", "reasoning_details", "refusal", "tool_calls", "function_call", "audio",
)  # fmt: skip
TEXTS = (*GENERATED, "text", "function", "name", "arguments", "transcript", "summary", "delta")


def texts_in(value: Any) -> Iterator[str]:
    """Every text a model generated inside a delta or message, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, dict):
        for name in TEXTS:
            if name in value:
                yield from texts_in(value[name])


def utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
