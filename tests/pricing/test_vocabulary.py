"""Exact counts from packed ranks, without the network, whatever the text."""

from __future__ import annotations

import base64
import hashlib
import socket
import subprocess
import sys
from importlib import import_module, resources
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.vocabulary import ENCODINGS, PIECE_CHARS, Counter, unpack
from tests.effort import examples

SHARED = Counter()


@pytest.fixture
def counter() -> Counter:
    return SHARED


def refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a vocabulary touched the network")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_is_ever_downloaded(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    assert Counter().count("hello world", encoding) == 2


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_packed_ranks_are_those_tiktoken_expects(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    header, ranks = unpack(resources.files("pricing").joinpath("vocab", f"{encoding}.xz").read_bytes())
    expected: list[str] = []

    def instead_of_download(_: str, expected_hash: str) -> dict[bytes, int]:
        expected.append(expected_hash)
        return ranks

    definitions = import_module("tiktoken_ext.openai_public")
    monkeypatch.setattr(definitions, "load_tiktoken_bpe", instead_of_download)
    theirs = definitions.ENCODING_CONSTRUCTORS[encoding]()
    original = b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in ranks.items())
    assert [hashlib.sha256(original).hexdigest()] == expected
    assert (header.name, header.special_tokens) == (theirs["name"], theirs["special_tokens"])


@pytest.mark.parametrize(
    ("text", "cl100k", "o200k"),
    [
        ("", 0, 0),
        ("hello world", 2, 2),
        ("tiktoken is great!", 6, 6),
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 9, 8),
    ],
)
def test_known_counts(counter: Counter, text: str, cl100k: int, o200k: int) -> None:
    assert (counter.count(text, "cl100k_base"), counter.count(text, "o200k_base")) == (cl100k, o200k)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_name_of_a_special_token_is_text(counter: Counter, encoding: str) -> None:
    assert counter.count("<|endoftext|>", encoding) > 1


@examples(50)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_counted(text: str) -> None:
    assert 0 <= SHARED.count(text, "cl100k_base") <= 4 * len(text)  # a token is at least one byte of UTF-8


def test_lone_surrogates_can_be_counted(counter: Counter) -> None:
    assert counter.count("a\ud800b", "o200k_base") == 3


@pytest.mark.parametrize("piece", ["a", " ", "^", "ab", "\n", "汉"])
def test_a_very_long_word_can_be_counted(counter: Counter, piece: str) -> None:
    text = piece * 200_000
    assert 0 < counter.count(text, "o200k_base") <= len(text)


def test_cutting_a_long_text_adds_at_most_a_few_tokens(counter: Counter) -> None:
    sentence = "The quick brown fox jumps over the lazy dog. "
    text = sentence * (3 * PIECE_CHARS // len(sentence))
    once = counter.count(sentence, "o200k_base") - counter.count(" ", "o200k_base")
    assert abs(counter.count(text, "o200k_base") - once * (len(text) // len(sentence))) < 12


def test_an_unknown_encoding_is_refused(counter: Counter) -> None:
    with pytest.raises(ValueError, match="no vocabulary 'p50k_base' is packed"):
        counter.count("x", "p50k_base")


def test_a_counter_loads_only_what_it_is_asked_for() -> None:
    counter = Counter()
    assert repr(counter) == "Counter(nothing loaded)"
    counter.count("x", "cl100k_base")
    assert repr(counter) == "Counter(cl100k_base)"


def test_prices_and_estimates_do_not_import_tiktoken() -> None:
    script = "import sys, pricing.book, pricing.tokens; pricing.book.load(); sys.exit('tiktoken' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
