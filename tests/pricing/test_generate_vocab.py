"""Only ranks that tiktoken itself vouches for are packed."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from pricing.generate_vocab import Source, pack
from pricing.vocabulary import Header, unpack

TOKENS = [b"!", b'"', b"\x00\xff", b" the", b"\n", b" " * 128]


def script(folder: Path, *runs: str) -> Source:
    ranks = {"pat_str": "x", "special_tokens": {}, "bpe_ranks": "\n".join(runs)}
    (folder / "toy.js").write_text(f"export default {json.dumps(ranks)};\n")
    return Source(folder)


def encoded(tokens: list[bytes]) -> str:
    return " ".join(base64.b64encode(token).decode() for token in tokens)


def test_ranks_are_read_in_runs_and_checked(tmp_path: Path) -> None:
    source = script(tmp_path, f"! 0 {encoded(TOKENS[:2])}", f"! 2 {encoded(TOKENS[2:])}")
    lines = b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(TOKENS))
    ranks = source("place/toy.tiktoken", hashlib.sha256(lines).hexdigest())
    assert ranks == {token: rank for rank, token in enumerate(TOKENS)}


def test_ranks_with_another_hash_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"toy: SHA-256 .*, tiktoken expects 00"):
        script(tmp_path, f"! 0 {encoded(TOKENS)}")("place/toy.tiktoken", "00")


def test_missing_ranks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="ranks 0 to 5 are missing"):
        script(tmp_path, f"! 5 {encoded(TOKENS)}")("place/toy.tiktoken", "00")


def test_what_is_packed_unpacks_to_the_same() -> None:
    header = Header(name="toy", pat_str=r"\p{L}+|\n", special_tokens={"<|end|>": 9})
    ranks = {token: rank for rank, token in enumerate(TOKENS)}
    assert unpack(pack(header, ranks)) == (header, ranks)
