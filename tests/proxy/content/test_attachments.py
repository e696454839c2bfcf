"""Pictures and files become notes, texts stay as they are, and the body stays JSON."""

from __future__ import annotations

import base64

import pytest
from msgspec import json

from proxy.content.attachments import put_away, put_away_within

DATA = base64.b64encode(bytes(range(256)) * 12).decode()
PICTURE = f"data:image/png;base64,{DATA}"


def digest(data: bytes) -> str:
    return f"d{len(data)}"


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (PICTURE, f"[image/png, {len(PICTURE)} characters, digest d{len(PICTURE)}]"),
        ("data:text/plain,hello", "[text/plain, 21 characters, digest d21]"),
        ("data:;base64,AAAA" + "A" * 1024, "[data, 1041 characters, digest d1041]"),
        (DATA, f"[base64, {len(DATA)} characters, digest d{len(DATA)}]"),
    ],
)
def test_an_attachment_becomes_a_note(text: str, note: str) -> None:
    body = json.encode({"a": [{"url": text}], "b": "x" * 2_000 + " y"})
    kept = json.decode(put_away(body, digest))
    assert kept["a"] == [{"url": note}]
    assert kept["b"] == "x" * 2_000 + " y"


@pytest.mark.parametrize(
    "text",
    [
        "data: what is it?, " + "a sentence " * 200,
        'data:he said \\"yes\\", and left ' * 80,
        "word " * 1_000,
        "a" * 500,
        "ümlaut" * 400,
    ],
)
def test_texts_stay(text: str) -> None:
    body = json.encode({"messages": [{"content": text}]})
    assert put_away(body, digest) == body


def test_slashes_that_were_escaped_are_no_hindrance() -> None:
    body = b'{"url": "' + PICTURE.replace("/", "\\/").encode() + b'"}'
    assert json.decode(put_away(body, digest))["url"].startswith("[image/png, ")


def test_a_body_without_any_is_not_even_taken_apart() -> None:
    body = b'{"a":"data:b"}'
    assert put_away(body, digest) is body


def test_within_a_text_the_data_becomes_a_note() -> None:
    note = f"[base64, {len(DATA)} characters, digest d{len(DATA)}]"
    assert (
        put_away_within(f'![it]({PICTURE}) or "{DATA}"', digest) == f'![it](data:image/png;base64,{note}) or "{note}"'
    )
    assert put_away_within("a data:x;base64,QUJD b", digest) == "a data:x;base64,[base64, 4 characters, digest d4] b"


@pytest.mark.parametrize("text", ["word " * 1_000, "a/b" * 100, "(" + "x" * 900 + ")", "?" * 3_000])
def test_within_a_text_words_stay(text: str) -> None:
    assert put_away_within(text, digest) == text
