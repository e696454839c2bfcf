"""What the beginning of a prompt is known by: chained hashes of its blocks, and the run that will go on with it.

A prompt is its tools and then its messages as they came, in blocks of 1 KiB, about 256 tokens. Each hash has the one
before in it, so equal hashes mean equal beginnings; the first has the tenant, the model or adapter and what changes
how an engine renders a prompt. To read 800 KiB again takes longer than all the rest of a decision, so a run's next
prompt is compared with the last one whole in its first 32 KiB and by samples behind that, and only what is new is
hashed. An edit that moves nothing can hide between samples: then too much is expected of an engine, for that run.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from proxy.tenancy import tenant
from proxy.types import Call, Endpoint

BLOCK_BYTES: Final = 1_024
BLOCK_TOKENS: Final = 256
BLOCKS_MAX: Final = 4_096  # of one prompt; what comes later is not looked at
FIRST_BLOCKS: Final = 2  # that stand for a conversation without a run
FIRST_BYTES: Final = 32 * BLOCK_BYTES
STRIDE: Final = 1_021  # bytes from one sample to the next; a prime, so that records of one length are met everywhere
BY_CHANCE: Final = 8  # samples behind an edit that may be equal all the same
KEPT_BYTES_MAX: Final = 64 * 1024 * 1024  # of all prompts together
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
    """`key`: the run and the model, else the first blocks; 64 bits, the same in every process. `tokens`: of the whole
    prompt."""

    key: int
    hashes: Sequence[int]  # of its whole blocks, 64 bits each, never empty
    tokens: int
    run: bool = False  # the key is a run's

    def __repr__(self) -> str:
        return f"Prefix({len(self.hashes)} blocks, {self.tokens} tokens, run={self.run})"


class Prompt(Struct, frozen=True):
    """What an engine makes the prompt of."""

    head: bytes  # what seldom changes within a run, filled up to whole blocks
    tail: memoryview  # without its last byte, which closes a list or a text that the next prompt goes on with


class _Kept(Struct, frozen=True):
    """What is kept of a run's last prompt."""

    seed: int
    head: bytes
    first: bytes  # of the tail
    samples: bytes  # of the rest
    length: int  # of the tail
    hashes: array[int]

    @property
    def size(self) -> int:
        return len(self.head) + len(self.first) + len(self.samples) + 8 * len(self.hashes)


class Prefixes:
    """The beginnings of this process's prompts. A call is looked at once, however often it is asked for."""

    def __init__(self, kept_bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._kept: OrderedDict[int, _Kept] = OrderedDict()  # by key, the longest unused first
        self._bytes = 0
        self._bytes_max = kept_bytes_max
        self._of: OrderedDict[tuple[str, str], Prefix | None] = OrderedDict()  # by call and model

    def __repr__(self) -> str:
        return f"Prefixes({len(self._kept)} prompts, {self._bytes} bytes)"

    def of(self, call: Call) -> Prefix | None:
        """None: its prompt is too short, or its endpoint knows no prompts."""
        known, name = self._of, (call.id, call.head.model)  # one call may ask several models
        if name in known:
            return known[name]
        prefix = known[name] = self._read(call)
        if len(known) > PREFIXES_MAX:
            known.popitem(last=False)
        return prefix

    def _read(self, call: Call) -> Prefix | None:
        found = prompt(call)
        if found is None or len(found.head) + len(found.tail) < BLOCK_BYTES:
            return None
        key = _key(call, found)
        return Prefix(
            key, self._hashes(_seed(call), key, found), call.input_tokens_estimate, call.identity.run is not None
        )

    def _hashes(self, seed: int, key: int, prompt: Prompt) -> array[int]:
        kept, tail = self._kept.get(key), prompt.tail
        first, samples = bytes(tail[:FIRST_BYTES]), bytes(tail[FIRST_BYTES::STRIDE])
        if kept is None or kept.seed != seed or kept.head != prompt.head:
            same, hashes = 0, chained(memoryview(prompt.head), array("q"), seed=seed)
        else:
            same = min(_same(kept, first, samples), len(tail) // BLOCK_BYTES)
            hashes = kept.hashes[: len(prompt.head) // BLOCK_BYTES + same]
        hashes = chained(tail, hashes, seed=seed, same=same)
        self._keep(key, _Kept(seed, prompt.head, first, samples, len(tail), hashes), kept)
        return hashes

    def _keep(self, key: int, new: _Kept, old: _Kept | None) -> None:
        kept = self._kept
        kept[key] = new
        kept.move_to_end(key)
        self._bytes += new.size - (0 if old is None else old.size)
        while self._bytes > self._bytes_max or len(kept) > KEPT_MAX:
            self._bytes -= kept.popitem(last=False)[1].size


def prompt(call: Call) -> Prompt | None:
    """The parts of a body that engines make the prompt of, in their order; None: there are none."""
    fields, parts = call.head.fields, PARTS.get(call.endpoint)
    if fields is None or parts is None:
        return None
    found = [fields[name] for name in parts if name in fields]
    if not found:
        return None
    head = b"".join(found[:-1])[: BLOCKS_MAX * BLOCK_BYTES]
    tail = memoryview(found[-1])[:-1][: BLOCKS_MAX * BLOCK_BYTES]
    return Prompt(head.ljust(-(-len(head) // BLOCK_BYTES) * BLOCK_BYTES), tail)


def chained(text: memoryview, known: array[int], *, seed: int, same: int = 0) -> array[int]:
    """Those that are known, and behind them those of all further whole blocks; `same` of the known ones are
    of this text."""
    hashes = known
    last = hashes[-1] if hashes else seed
    for at in range(same * BLOCK_BYTES, len(text) - BLOCK_BYTES + 1, BLOCK_BYTES):
        last = hash((last, bytes(text[at : at + BLOCK_BYTES])))
        hashes.append(last)
    return hashes


def _seed(call: Call) -> int:
    fields = call.head.fields or {}
    settings = tuple([(name, bytes(fields[name])) for name in SETTINGS if name in fields])
    return hash((tenant(call.identity), call.endpoint, call.head.model, settings))


def _key(call: Call, prompt: Prompt) -> int:
    run = call.identity.run
    if run is None:
        most = FIRST_BLOCKS * BLOCK_BYTES
        of, person = (prompt.head[:most] + bytes(prompt.tail[:most]))[:most], b"text"
    else:
        of, person = f"{call.head.model}\n{run}".encode("utf-8", "surrogatepass"), b"run"
    digest = blake2b(of, digest_size=8, key=tenant(call.identity).encode("utf-8", "surrogatepass")[:64], person=person)
    return int.from_bytes(digest.digest(), "little")


def _same(kept: _Kept, first: bytes, samples: bytes) -> int:
    """Whole blocks that a tail begins with as the one before did. It may count some behind its end."""
    if not first.startswith(kept.first):
        return _until(kept.first, first, BLOCK_BYTES)
    if samples.startswith(kept.samples):
        return kept.length // BLOCK_BYTES
    same = max(0, _until(kept.samples, samples, 1) - BY_CHANCE)
    return (FIRST_BYTES + STRIDE * same) // BLOCK_BYTES


def _until(one: bytes, other: bytes, step: int) -> int:
    """Whole steps that both begin with."""
    steps = range(min(len(one), len(other)) // step)
    return next(
        (at for at in steps if one[at * step : at * step + step] != other[at * step : at * step + step]), len(steps)
    )
