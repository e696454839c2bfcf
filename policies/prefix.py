"""What the beginning of a prompt is known by: chained hashes of its blocks, and the run that will go on with it.

A prompt is its tools and then its messages as they came, in blocks of 1 KiB, about 256 tokens. Each hash has the one
before in it, so equal hashes mean equal beginnings; the first has the tenant, the model or adapter and what changes how
an engine renders a prompt. Hashing 800 KiB takes most of a millisecond, comparing it a fiftieth of that: the prompt
that a run sent last is kept for a while, and only what is new in the next one is hashed. Hashes are this process's own.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from proxy.types import Call, Endpoint

BLOCK_BYTES: Final = 1_024
BLOCK_TOKENS: Final = 256
BLOCKS_MAX: Final = 4_096  # of one prompt; what comes later is not looked at
FIRST_BLOCKS: Final = 2  # that stand for a conversation without a run
KEPT_BYTES_MAX: Final = 64 * 1024 * 1024  # of prompts, all together
KEPT_MAX: Final = 4_096
PREFIXES_MAX: Final = 256  # of calls that have been looked at and not sent yet

# What an engine makes a prompt of, in its order. None: its prompts have no common beginnings worth a search.
PARTS: Final[dict[Endpoint, tuple[str, ...]]] = {
    "chat": ("tools", "functions", "documents", "messages"),
    "completions": ("prompt",),
    "responses": ("tools", "instructions", "input"),
}
# Names an adapter, a revision or a way of rendering: vLLM, SGLang, TGI, llama.cpp.
SETTINGS: Final = (
    *("cache_salt", "lora_path", "lora", "adapter_id", "revision"),
    *("chat_template", "chat_template_kwargs", "reasoning_effort"),
)


class Prefix(Struct, frozen=True):
    """`key`: the run, else the first blocks; 64 bits, the same in every process. `tokens`: of the whole prompt."""

    key: int
    hashes: list[int]  # of its whole blocks, never empty
    tokens: int
    run: bool = False  # the key is a run's

    def __repr__(self) -> str:
        return f"Prefix({len(self.hashes)} blocks, {self.tokens} tokens, run={self.run})"


class Prompt(Struct, frozen=True):
    """What an engine makes the prompt of. `tail` is without its last byte, which closes a list or a text that the next
    prompt goes on with."""

    head: bytes  # what seldom changes within a run
    tail: memoryview


class _Kept(Struct, frozen=True):
    """The prompt before, in pieces: those that the next one begins with are kept as they are."""

    seed: int
    head: bytes
    pieces: list[bytes]
    hashes: list[int]

    @property
    def size(self) -> int:
        return len(self.head) + sum(map(len, self.pieces))


class Prefixes:
    """The beginnings of this process's prompts. A call is looked at once, however often it is asked for."""

    def __init__(self, kept_bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._kept: OrderedDict[int, _Kept] = OrderedDict()  # by key, the longest unused first
        self._bytes = 0
        self._bytes_max = kept_bytes_max
        self._of: OrderedDict[str, Prefix | None] = OrderedDict()  # by call

    def __repr__(self) -> str:
        return f"Prefixes({len(self._kept)} prompts, {self._bytes} bytes)"

    def of(self, call: Call) -> Prefix | None:
        """None: its prompt is too short, or its endpoint knows no prompts."""
        known = self._of
        if call.id in known:
            return known[call.id]
        prefix = known[call.id] = self._read(call)
        if len(known) > PREFIXES_MAX:
            known.popitem(last=False)
        return prefix

    def _read(self, call: Call) -> Prefix | None:
        found = prompt(call)
        if found is None or len(found.head) + len(found.tail) < BLOCK_BYTES:
            return None
        seed, key = _seed(call), _key(call, found)
        hashes = self._hashes(seed, key, found)
        return Prefix(key, hashes, call.input_tokens_estimate, call.identity.run is not None) if hashes else None

    def _hashes(self, seed: int, key: int, prompt: Prompt) -> list[int]:
        kept = self._kept.get(key)
        if kept is None or kept.seed != seed or kept.head != prompt.head:
            hashes = chained(prompt.head, seed, [], whole=False)
            pieces: list[bytes] = []
        else:
            pieces, inside = _same(kept.pieces, prompt.tail)
            blocks = len(pieces) * PIECE_BLOCKS + inside
            hashes = kept.hashes[: -(-len(prompt.head) // BLOCK_BYTES) + blocks]
        known = len(pieces)
        pieces += [bytes(prompt.tail[at : at + PIECE]) for at in range(known * PIECE, len(prompt.tail), PIECE)]
        inside = 0 if kept is None else inside_of(hashes, prompt, known)
        for piece in pieces[known:]:
            hashes = chained(piece[inside * BLOCK_BYTES :], seed, hashes)
            inside = 0
        self._keep(key, _Kept(seed, prompt.head, pieces, hashes), kept)
        return hashes

    def _keep(self, key: int, new: _Kept, old: _Kept | None) -> None:
        kept = self._kept
        kept[key] = new
        kept.move_to_end(key)
        self._bytes += new.size - (0 if old is None else old.size)
        while self._bytes > self._bytes_max or len(kept) > KEPT_MAX:
            self._bytes -= kept.popitem(last=False)[1].size


def tenant(call: Call) -> str:
    """Who shares a cache with whom: a team, else a key."""
    who = call.identity
    return f"key:{who.key_id}" if who.team is None else f"team:{who.team}"


def _seed(call: Call) -> int:
    fields = call.head.fields or {}
    settings = tuple([(name, bytes(fields[name])) for name in SETTINGS if name in fields])
    return hash((tenant(call), call.endpoint, call.head.model, settings))


def _key(call: Call, text: bytes) -> int:
    run = call.identity.run
    of = text[: FIRST_BLOCKS * BLOCK_BYTES] if run is None else run.encode("utf-8", "surrogatepass")
    person = b"text" if run is None else b"run"
    digest = blake2b(of, digest_size=8, key=tenant(call).encode("utf-8", "surrogatepass")[:64], person=person)
    return int.from_bytes(digest.digest(), "little")


def _common(old: bytes, new: bytes) -> int:
    """Whole blocks that both begin with."""
    if new.startswith(old):
        return len(old) // BLOCK_BYTES
    low, high = 0, min(len(old), len(new)) // BLOCK_BYTES
    while low < high:  # what is below `low` is equal
        middle = (low + high + 1) // 2
        span = slice(low * BLOCK_BYTES, middle * BLOCK_BYTES)
        if old[span] == new[span]:
            low = middle
        else:
            high = middle - 1
    return low
