from __future__ import annotations

import pytest

from proxy.dialects.openai_text import texts_in, utf8_length


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("a", ["a"]),
        (None, []),
        (5, []),
        ({"content": "a", "reasoning_content": "b", "role": "assistant"}, ["a", "b"]),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image", "url": "u"}]}, ["a"]),
        ({"tool_calls": [{"id": "i", "function": {"arguments": "{}", "name": "f"}}]}, ["f", "{}"]),
        ([{"text": "a"}, None, ["b"], {"audio": {"transcript": "c"}}], ["a", "b", "c"]),
    ],
)
def test_the_texts_are_those_a_model_generated_in_order(value: object, texts: list[str]) -> None:
    assert list(texts_in(value)) == texts


@pytest.mark.parametrize(("text", "length"), [("", 0), ("abc", 3), ("é世🎉", 9), ("\ud800", 3)])
def test_a_text_is_as_long_as_its_bytes(text: str, length: int) -> None:
    assert utf8_length(text) == length
