"""From a reported usage object to disjoint token classes.

Decides how each vendor's totals contain their parts, and what happens to numbers that cannot be true; it does not
price. Read by shape, never by vendor: chat (`prompt_tokens`), responses (`input_tokens`), embeddings, images, audio.
Where the parts do not add up to the total, the dearer reading is taken and flagged. Flags: `clamped` (a count was not
a count), `mismatch` (the sums disagree), `unknown_field` (a count nobody here knows), `partial` (one side is
missing), `duration` (billed by seconds, not tokens).
"""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct

from proxy.types import Usage

COUNT_MAX = 1_000_000_000

_KNOWN = frozenset(
    {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "input_tokens",
        "output_tokens",
        "reasoning_tokens",
        "cached_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "input_tokens_details",
        "output_tokens_details",
        "input_token_details",
        "output_token_details",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    }
)
_KNOWN_PARTS = frozenset(
    {
        "cached_tokens",
        "cache_write_tokens",
        "cache_creation_tokens",
        "audio_tokens",
        "image_tokens",
        "text_tokens",
        "reasoning_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
        "cached_tokens_details",
    }
)


class _Input(Struct, frozen=True):
    uncached: int
    cached: int = 0
    written: int = 0
    audio: int = 0
    image: int = 0


class _Reader:
    """Counts out of one JSON object, with the flags they earned."""

    __slots__ = ("flags", "values")

    def __init__(self, values: object, flags: set[str]) -> None:
        self.values: dict[str, Any] = values if isinstance(values, dict) else {}
        self.flags = flags

    def count(self, *names: str) -> int | None:
        """The first of `names` that is there; None if none is, or if it is no count."""
        for name in names:
            if name in self.values:
                return self._count(self.values[name])
        return None

    def part(self, *names: str) -> int:
        """As `count`, where null and absent are an ordinary nothing."""
        for name in names:
            value = self.values.get(name)
            if value is not None:
                return self._count(value) or 0
        return 0

    def details(self, *names: str) -> _Reader:
        for name in names:
            value = self.values.get(name)
            if value:
                return _Reader(value, self.flags)
        return _Reader(None, self.flags)

    def note_unknown(self, known: frozenset[str]) -> None:
        if self.values.keys() <= known:
            return
        for name in self.values.keys() - known:
            value = self.values[name]
            if "token" in name and isinstance(value, int) and value > 0:
                self.flags.add("unknown_field")

    def _count(self, value: object) -> int | None:
        if type(value) is int and 0 <= value <= COUNT_MAX:
            return value
        self.flags.add("clamped")
        if isinstance(value, float) and 0 <= value <= COUNT_MAX:
            return math.ceil(value)
        return None


def usage_of(reported: object) -> Usage | None:
    """None if it reports nothing that can be read: the caller counts or estimates then. A reported zero is zero."""
    if not isinstance(reported, dict):
        return None
    flags: set[str] = set()
    whole = _Reader(reported, flags)
    if reported.get("type") == "duration":
        return Usage(flags=("duration",))
    prompt = whole.count("prompt_tokens", "input_tokens")
    completion = whole.count("completion_tokens", "output_tokens")
    total = whole.count("total_tokens")
    if total is None and (prompt is None and completion is None):
        return None
    prompt, completion = _both(prompt, completion, total, flags)
    ins = whole.details("prompt_tokens_details", "input_tokens_details", "input_token_details")
    outs = whole.details("completion_tokens_details", "output_tokens_details", "output_token_details")
    whole.note_unknown(_KNOWN)
    ins.note_unknown(_KNOWN_PARTS)
    outs.note_unknown(_KNOWN_PARTS)
    reasoning = outs.part("reasoning_tokens") or whole.part("reasoning_tokens")
    surplus = 0 if total is None else total - prompt - completion
    cached, written = _cached(whole, ins), _written(whole, ins)
    if surplus == cached + written > 0 and surplus != reasoning:  # its prompt leaves out what the cache served
        prompt, surplus = prompt + surplus, 0
    spent = _input(prompt, cached, written, ins, flags)
    output, reasoning, audio = _output(completion, reasoning, surplus, outs, flags)
    return Usage(
        input_uncached=spent.uncached,
        input_cached=spent.cached,
        input_cache_write_5m=spent.written,
        input_audio=spent.audio,
        input_image=spent.image,
        output=output,
        reasoning=reasoning,
        output_audio=audio,
        flags=tuple(sorted(flags)),
    )


def _both(prompt: int | None, completion: int | None, total: int | None, flags: set[str]) -> tuple[int, int]:
    """Input and output, the missing one from the total. Embeddings and rerank report no output: that is zero."""
    if prompt is not None and completion is not None:
        return prompt, completion
    if prompt is None:
        if total is None:
            flags.add("partial")
        return max(0, (total or 0) - (completion or 0)), completion or 0
    if total is None:
        flags.add("partial")
    return prompt, max(0, (total or 0) - prompt)


def _cached(whole: _Reader, ins: _Reader) -> int:
    return ins.part("cached_tokens") or whole.part(
        "prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens"
    )


def _written(whole: _Reader, ins: _Reader) -> int:
    return ins.part("cache_write_tokens", "cache_creation_tokens") or whole.part("cache_creation_input_tokens")


def _input(prompt: int, cached: int, written: int, ins: _Reader, flags: set[str]) -> _Input:
    audio, image = ins.part("audio_tokens"), ins.part("image_tokens")
    if cached + written > prompt:  # cannot be contained in it: then all of it comes on top
        flags.add("mismatch")
        prompt += cached + written
    rest = prompt - cached - written
    if audio + image > rest:  # classes overlap (cached audio): the dear ones are filled first
        flags.add("mismatch")
        audio = min(audio, prompt)
        image = min(image, prompt - audio)
        written = min(written, prompt - audio - image)
        cached = min(cached, prompt - audio - image - written)
        rest = prompt - cached - written
    return _Input(uncached=rest - audio - image, cached=cached, written=written, audio=audio, image=image)


def _output(completion: int, reasoning: int, surplus: int, outs: _Reader, flags: set[str]) -> tuple[int, int, int]:
    """(output, reasoning, audio). A total above input and output shows reasoning, or something unnamed, on top."""
    audio = outs.part("audio_tokens")
    if surplus != 0 and surplus != reasoning:
        flags.add("mismatch")
    produced = completion + max(0, surplus)
    if reasoning + audio > produced:
        flags.add("mismatch")
        produced = max(produced, reasoning + audio, completion + reasoning)
    return produced - reasoning - audio, reasoning, audio
