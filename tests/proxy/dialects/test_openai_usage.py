from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.openai_usage import usage_of
from proxy.types import Usage
from tests.effort import examples


def chat(prompt: object, completion: object, total: object = None, **more: object) -> dict[str, Any]:
    given = {"prompt_tokens": prompt, "completion_tokens": completion} | more
    return given if total is None else given | {"total_tokens": total}


def ins(**parts: object) -> dict[str, Any]:
    return {"prompt_tokens_details": parts}


def outs(**parts: object) -> dict[str, Any]:
    return {"completion_tokens_details": parts}


ROWS: list[tuple[str, dict[str, Any], Usage]] = [
    ("plain", chat(10, 5, 15), Usage(input_uncached=10, output=5)),
    ("a reported zero stays zero", chat(0, 0, 0), Usage()),
    ("null details", chat(10, 5, 15, prompt_tokens_details=None), Usage(input_uncached=10, output=5)),
    ("cached is contained", chat(10, 5, 15, **ins(cached_tokens=4)), Usage(input_uncached=6, input_cached=4, output=5)),
    (
        "reasoning is contained",
        chat(10, 5, 15, **outs(reasoning_tokens=3)),
        Usage(input_uncached=10, output=2, reasoning=3),
    ),
    (
        "xAI: reasoning on top",
        chat(10, 5, 18, **outs(reasoning_tokens=3)),
        Usage(input_uncached=10, output=5, reasoning=3),
    ),
    (
        "xAI: more reasoning than output",
        chat(10, 5, 115, **outs(reasoning_tokens=100)),
        Usage(input_uncached=10, output=5, reasoning=100),
    ),
    ("no total: contained", chat(10, 5, **outs(reasoning_tokens=3)), Usage(input_uncached=10, output=2, reasoning=3)),
    (
        "audio",
        chat(10, 9, 19, **ins(audio_tokens=7), **outs(audio_tokens=6)),
        Usage(input_uncached=3, input_audio=7, output=3, output_audio=6),
    ),
    ("image", chat(10, 5, 15, **ins(image_tokens=7, text_tokens=3)), Usage(input_uncached=3, input_image=7, output=5)),
    (
        "DeepSeek",
        chat(10, 5, 15, prompt_cache_hit_tokens=8, prompt_cache_miss_tokens=2),
        Usage(input_uncached=2, input_cached=8, output=5),
    ),
    ("Moonshot", chat(10, 5, 15, cached_tokens=8), Usage(input_uncached=2, input_cached=8, output=5)),
    (
        "cache write",
        chat(10, 5, 15, **ins(cached_tokens=2, cache_write_tokens=6)),
        Usage(input_uncached=2, input_cached=2, input_cache_write_5m=6, output=5),
    ),
    (
        "cache write above",
        chat(10, 5, 15, cache_creation_input_tokens=6),
        Usage(input_uncached=4, input_cache_write_5m=6, output=5),
    ),
    (
        "cache outside the prompt",
        chat(10, 5, 35, **ins(cached_tokens=20)),
        Usage(input_uncached=10, input_cached=20, output=5),
    ),
    (
        "cache larger than the prompt",
        chat(10, 5, 15, **ins(cached_tokens=20)),
        Usage(input_uncached=10, input_cached=20, output=5, flags=("mismatch",)),
    ),
    (
        "cached audio overlaps",
        chat(10, 5, 15, **ins(cached_tokens=8, audio_tokens=6)),
        Usage(input_uncached=0, input_cached=4, input_audio=6, output=5, flags=("mismatch",)),
    ),
    (
        "responses",
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "total_tokens": 15,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens_details": {"reasoning_tokens": 3},
        },
        Usage(input_uncached=6, input_cached=4, output=2, reasoning=3),
    ),
    ("embeddings", {"prompt_tokens": 8, "total_tokens": 8}, Usage(input_uncached=8)),
    ("total only", {"total_tokens": 8}, Usage(input_uncached=8)),
    (
        "images",
        {
            "input_tokens": 50,
            "output_tokens": 200,
            "total_tokens": 250,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        },
        Usage(input_uncached=10, input_image=40, output=200),
    ),
    (
        "transcription",
        {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
            "output_tokens": 5,
            "total_tokens": 19,
        },
        Usage(input_audio=14, output=5),
    ),
    ("duration", {"type": "duration", "seconds": 12}, Usage(flags=("duration",))),
    ("Gemini: hidden tokens in the total", chat(10, 5, 40), Usage(input_uncached=10, output=30, flags=("mismatch",))),
    ("total too small", chat(10, 5, 12), Usage(input_uncached=10, output=5, flags=("mismatch",))),
    (
        "reasoning above output",
        chat(10, 5, 15, **outs(reasoning_tokens=9)),
        Usage(input_uncached=10, output=5, reasoning=9, flags=("mismatch",)),
    ),
    ("negative, mended by the total", chat(10, -5, 15), Usage(input_uncached=10, output=5, flags=("clamped",))),
    ("negative part", chat(10, 5, 15, **ins(cached_tokens=-4)), Usage(input_uncached=10, output=5, flags=("clamped",))),
    ("float", chat(10.2, 5.0), Usage(input_uncached=11, output=5, flags=("clamped",))),
    ("text", chat("10", 5, 15), Usage(input_uncached=10, output=5, flags=("clamped",))),
    ("null", chat(None, 5, 15), Usage(input_uncached=10, output=5, flags=("clamped",))),
    ("bool", chat(10, True, 15), Usage(input_uncached=10, output=5, flags=("clamped",))),
    ("absurd", chat(10, 10**18, 15), Usage(input_uncached=10, output=5, flags=("clamped",))),
    ("infinite", chat(10, float("inf"), 15), Usage(input_uncached=10, output=5, flags=("clamped",))),
    ("one side only", chat(None, 5), Usage(output=5, flags=("clamped", "partial"))),
    ("output unknown", {"prompt_tokens": 9}, Usage(input_uncached=9, flags=("partial",))),
    (
        "a count nobody knows",
        chat(10, 5, 15, citation_tokens=7),
        Usage(input_uncached=10, output=5, flags=("unknown_field",)),
    ),
    ("an unknown zero", chat(10, 5, 15, citation_tokens=0, num_search_queries=3), Usage(input_uncached=10, output=5)),
    (
        "an unknown part",
        chat(10, 5, 15, **outs(video_tokens=2)),
        Usage(input_uncached=10, output=5, flags=("unknown_field",)),
    ),
    (
        "details that are none",
        chat(10, 5, 15, prompt_tokens_details=[1], completion_tokens_details="x"),
        Usage(input_uncached=10, output=5),
    ),
    ("Groq's times", chat(10, 5, 15, queue_time=0.02, total_time=0.5), Usage(input_uncached=10, output=5)),
]


@pytest.mark.parametrize(("reported", "usage"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_reported_usage_becomes_disjoint_classes(reported: dict[str, Any], usage: Usage) -> None:
    assert usage_of(reported) == usage


@pytest.mark.parametrize(
    "nothing", [None, {}, [], 5, "x", {"cost": 1}, chat(None, None), chat(-1, "x"), chat(2**80, -1)]
)
def test_what_cannot_be_read_is_missing_and_not_zero(nothing: object) -> None:
    assert usage_of(nothing) is None


ODD = st.one_of(
    st.integers(-3, 40), st.none(), st.booleans(), st.floats(), st.text(max_size=2), st.just(10**18), st.just([])
)
PARTS = st.dictionaries(
    st.sampled_from(["cached_tokens", "audio_tokens", "reasoning_tokens", "image_tokens", "z_tokens"]), ODD
)
REPORTS = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": ODD,
        "completion_tokens": ODD,
        "total_tokens": ODD,
        "prompt_cache_hit_tokens": ODD,
        "cache_creation_input_tokens": ODD,
        "prompt_tokens_details": PARTS,
        "completion_tokens_details": PARTS,
    },
)


@examples(120)
@given(REPORTS)
def test_no_class_is_negative_and_none_is_lost(reported: dict[str, Any]) -> None:
    usage = usage_of(reported)
    if usage is None:
        return
    counts = [getattr(usage, name) for name in Usage.__struct_fields__ if name not in ("source", "flags")]
    assert all(type(count) is int and count >= 0 for count in counts)
    for side, name in ((usage.input_total, "prompt_tokens"), (usage.output_total, "completion_tokens")):
        if type(reported.get(name)) is int and 0 <= reported[name] <= 40:
            assert side >= reported[name]
    total = reported.get("total_tokens")
    if not usage.flags and type(total) is int:
        assert usage.input_total + usage.output_total == total
