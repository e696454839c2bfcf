"""Packs tokenizer ranks for `pricing.vocabulary`; run at release time (`make vocab`), never by the product.

    npm pack js-tiktoken && tar xzf js-tiktoken-*.tgz
    python -m pricing.generate_vocab package/dist/ranks

Ranks come from the js-tiktoken package (MIT). tiktoken itself says which pattern, which special tokens and which
SHA-256 belong to a vocabulary: its own definitions are evaluated with our ranks in place of its download, and a hash
that differs from the one it expects ends the run.
"""

from __future__ import annotations

import base64
import hashlib
import lzma
import sys
from collections.abc import Iterator
from pathlib import Path

import tiktoken_ext.openai_public as definitions  # type: ignore[import-untyped]  # it ships no types
from msgspec import json

from pricing.vocabulary import ENCODINGS, Header, unpack

VOCAB = Path(__file__).parent / "vocab"


class Source:
    """Stands in for tiktoken's download: reads js-tiktoken's file and checks it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, address: str, expected_hash: str | None = None) -> dict[bytes, int]:
        name = address.rpartition("/")[2].removesuffix(".tiktoken")
        tokens = list(_tokens((self.folder / f"{name}.js").read_text()))
        original = b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens))
        found = hashlib.sha256(original).hexdigest()
        if found != expected_hash:
            raise SystemExit(f"{name}: SHA-256 {found}, tiktoken expects {expected_hash}")
        return {token: rank for rank, token in enumerate(tokens)}


def _tokens(script: str) -> Iterator[bytes]:
    """`export default {..., "bpe_ranks": "! 0 IQ== Ig== ..."}`: runs of tokens, each behind its first rank."""
    ranks = json.decode(script.removeprefix("export default ").rstrip().removesuffix(";"), type=dict[str, object])
    expected = 0
    for run in str(ranks["bpe_ranks"]).splitlines():
        _, first, *encoded = run.split(" ")
        if int(first) != expected:
            raise SystemExit(f"ranks {expected} to {first} are missing")
        expected += len(encoded)
        yield from map(base64.b64decode, encoded)


def pack(header: Header, ranks: dict[bytes, int]) -> bytes:
    ordered = sorted(ranks, key=ranks.__getitem__)
    body = b"".join(bytes([len(token)]) + token for token in ordered)
    return lzma.compress(json.encode(header) + b"\n" + body, preset=9 | lzma.PRESET_EXTREME)


def main(folder: Path) -> None:
    definitions.load_tiktoken_bpe = Source(folder)
    VOCAB.mkdir(exist_ok=True)
    for name in ENCODINGS:
        found = definitions.ENCODING_CONSTRUCTORS[name]()
        header = Header(name=name, pat_str=found["pat_str"], special_tokens=found["special_tokens"])
        packed = pack(header, found["mergeable_ranks"])
        if unpack(packed) != (header, found["mergeable_ranks"]):
            raise SystemExit(f"{name}: what was packed does not unpack to the same ranks")
        (VOCAB / f"{name}.xz").write_bytes(packed)
        print(f"{name}: {len(found['mergeable_ranks'])} ranks, {len(packed)} bytes, SHA-256 as tiktoken expects")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
