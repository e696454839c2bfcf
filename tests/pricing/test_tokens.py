"""Estimates that are cheap and not far off, and reports that cannot exceed what is possible."""

from __future__ import annotations

import base64
import json

import pytest
import tiktoken.model
from hypothesis import given
from hypothesis import strategies as st

from pricing.tokens import (
    FILE_BYTES_PER_TOKEN,
    IMAGE_TOKENS,
    encoding_for,
    estimate,
    input_bound,
    input_estimate,
    plausible,
)
from proxy.dialects.json_body import top_level
from proxy.types import Usage


@pytest.mark.parametrize(("size", "tokens"), [(0, 1), (1, 1), (4, 1), (5, 2), (4000, 1000), (4001, 1001)])
def test_a_quarter_of_the_bytes_rounded_up(size: int, tokens: int) -> None:
    assert estimate(size) == tokens


def body(*parts: object, indent: int | None = None) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": list(parts)}]}, indent=indent).encode()


def image(size: int, kind: str = "image/png") -> dict[str, object]:
    data = base64.b64encode(bytes(range(256)) * (size // 256 + 1)).decode()[:size]
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


TEXT = {"type": "text", "text": "What is in these pictures; and in which order?"}


@given(st.binary(max_size=400))
def test_text_is_estimated_by_its_bytes(raw: bytes) -> None:
    assert input_estimate(raw) == estimate(len(raw))


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("size", [20_000, 1_000_000])
def test_an_image_costs_the_same_whatever_its_bytes(count: int, size: int) -> None:
    raw = body(TEXT, *[image(size)] * count)
    around = estimate(len(raw) - count * size)
    assert input_estimate(raw) == around + count * IMAGE_TOKENS


def test_layout_does_not_matter() -> None:
    assert abs(input_estimate(body(image(50_000), indent=2)) - input_estimate(body(image(50_000)))) < 100


def test_a_document_costs_by_its_size() -> None:
    size = 1_000_000
    raw = body(TEXT, image(size, "application/pdf"))
    assert input_estimate(raw) == estimate(len(raw) - size) + size // FILE_BYTES_PER_TOKEN


def test_a_short_attachment_counts_as_text_and_costs_about_an_image() -> None:
    raw = body(image(6_000))
    assert abs(input_estimate(raw) - IMAGE_TOKENS) < 600


def test_an_attachment_that_never_ends_is_text() -> None:
    raw = b'{"url":"data:image/png;base64,' + b"QUJD" * 20_000
    assert input_estimate(raw) == estimate(len(raw))


def test_a_long_word_that_is_no_attachment_is_text() -> None:
    raw = body({"text": "A" * 50_000})
    assert input_estimate(raw) == estimate(len(raw))


# --- plausible --------------------------------------------------------------------------------------------------

REPORT = Usage(input_uncached=100, input_cached=900, output=50, reasoning=10, flags=("unknown_field",))


def test_a_report_within_bounds_is_the_object_it_was() -> None:
    assert plausible(REPORT, 60, 1_060) is REPORT


@pytest.mark.parametrize(
    ("usage", "lower", "upper", "wanted"),
    [
        # too little output for what was relayed
        (Usage(input_uncached=10), 40, 1_000, Usage(input_uncached=10, output=40)),
        (Usage(input_uncached=10, output=5, reasoning=5), 40, 1_000, Usage(input_uncached=10, output=35, reasoning=5)),
        # more than the model can hold: what is cheapest goes first
        (Usage(input_uncached=90, input_cached=50, output=60), 0, 100, Usage(input_uncached=40, output=60)),
        (Usage(input_uncached=1, output=10**12, reasoning=7), 0, 100, Usage(output=93, reasoning=7)),
        # below zero is not a number of tokens
        (Usage(input_uncached=-5, output=3), 0, 100, Usage(output=3)),
        # both at once
        (Usage(input_uncached=200), 60, 100, Usage(input_uncached=40, output=60)),
        (Usage(input_uncached=5), 60, 50, Usage(output=50)),
    ],
)
def test_an_impossible_report_is_clamped_and_flagged(usage: Usage, lower: int, upper: int, wanted: Usage) -> None:
    clamped = plausible(usage, lower, upper)
    figures = [name for name in wanted.__struct_fields__ if name not in ("source", "flags")]
    assert {name: getattr(clamped, name) for name in figures} == {name: getattr(wanted, name) for name in figures}
    assert clamped.flags == ("clamped",)
    assert clamped.source == "reported"


def test_flags_are_kept() -> None:
    assert plausible(REPORT, 60, 500).flags == ("unknown_field", "clamped")


def test_a_reported_zero_stays_zero_when_nothing_was_relayed() -> None:
    nothing = Usage()
    assert plausible(nothing, 0, 100) is nothing


classes = [name for name in Usage.__struct_fields__ if name not in ("source", "flags")]
usages = st.builds(Usage, **{name: st.integers(-10, 1_000) for name in classes})


@given(usages, st.integers(0, 2_000), st.integers(0, 5_000))
def test_a_clamped_report_is_always_in_bounds(usage: Usage, lower: int, upper: int) -> None:
    clamped = plausible(usage, lower, upper)
    assert min(lower, upper) <= clamped.output_total
    assert clamped.input_total + clamped.output_total <= upper
    assert min(getattr(clamped, name) for name in classes) >= 0


# --- vocabularies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-2024-08-06", "o200k_base"),
        ("GPT-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-4.1-mini", "o200k_base"),
        ("openai/gpt-5.5", "o200k_base"),
        ("ft:gpt-3.5-turbo:me::1", "cl100k_base"),
        ("claude-sonnet-4-5", None),
        ("llama-3.3-70b", None),
        ("gpt2", None),
        ("", None),
    ],
)
def test_a_model_has_its_own_vocabulary_or_none(model: str, encoding: str | None) -> None:
    assert encoding_for(model) == encoding


def test_tiktoken_agrees_on_every_model_it_knows() -> None:
    known = {**tiktoken.model.MODEL_TO_ENCODING, **tiktoken.model.MODEL_PREFIX_TO_ENCODING}
    theirs = {model: name.replace("o200k_harmony", "o200k_base") for model, name in known.items()}
    packed = {model: name for model, name in theirs.items() if name in ("cl100k_base", "o200k_base")}
    assert len(packed) > 20
    assert {model: encoding_for(model) or encoding_for(f"{model}x") for model in packed} == packed


# --- the most an input can count -------------------------------------------------------------------------------------


def bound(raw: bytes, model: str = "m", *, context: int = 1_000_000) -> int:
    return input_bound(raw, top_level(raw), model=model, context_tokens=context)


@given(st.text(), st.booleans())
def test_no_text_has_more_bytes_than_its_bound(text: str, ascii: bool) -> None:
    spoken = text.encode("utf-8", "surrogatepass")
    raw = json.dumps({"messages": [{"role": "user", "content": text}]}, ensure_ascii=ascii)
    assert len(spoken) + 256 <= bound(raw.encode("utf-8", "surrogatepass"))


def test_messages_and_tools_have_their_overhead() -> None:
    none, two = body(TEXT), body(TEXT).replace(b"[{", b'[{"role":"system","content":""},{', 1)
    assert bound(two) - bound(none) == len(two) - len(none) + 8
    tool = body(TEXT)[:-1] + b',"tools":[{"type":"function","function":{"name":"f"}}]}'
    assert bound(tool) > len(tool) + 256 + 512


@pytest.mark.parametrize("count", [1, 3])
def test_an_image_counts_the_most_its_model_makes_of_one_however_large_it_is(count: int) -> None:
    small, large = (body(TEXT, *[image(size)] * count) for size in (1_000, 500_000))
    assert bound(small) == bound(large)
    assert bound(small, "gpt-4o-mini") - bound(body(TEXT), "gpt-4o-mini") >= count * 48_169
    by_url = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert bound(body(TEXT, *[by_url] * count)) >= count * 16_384


def test_text_that_looks_like_an_image_counts_as_text() -> None:
    fake = {"type": "text", "text": "data:image/png;base64," + "A" * 50_000}
    assert bound(body(fake, image(1_000))) > 50_000


@pytest.mark.parametrize(
    "more",
    [
        b'"previous_response_id":"r"',
        b'"conversation":"c"',
        b'"input":[{"type":"input_file","file_url":"https://example.org/a.pdf"}]',
        b'"input":[{"type":"input_image","file_id":"f"}]',
        b'"tools":[{"type":"web_search_preview"}]',
        b'"tools":[{"type":"mcp","server_url":"https://example.org"}]',
        b'"input":[{"\\u0066ile_id":"f"}]',
        b'"input":[{"type":"item_reference","id":"msg_1"}]',
        b'"messages":[{"content":[{"type":"audio_url","audio_url":{"url":"https://example.org/a.wav"}}]}]',
        b'"messages":[{"content":[{"type":"document_url","document_url":"https://example.org/a.pdf"}]}]',
        b'"tools":[{"type":"function","function":{"name":"f"}},{"type":"browser_search"}]',
        b'"tools":[{"googleSearch":{}}]',
        b'"tools":{"web":1}',
        b'"search_parameters":{"mode":"on"}',
        b'"plugins":[{"id":"web"}]',
        b'"extra_body":{"google":{"cached_content":"c"}}',
        b'"chat_template":"{% for i in range(9999) %}x{% endfor %}"',
    ],
)
def test_what_the_text_does_not_show_may_fill_the_context(more: bytes) -> None:
    assert bound(b'{"model":"m",' + more + b"}", context=77_000) == 77_000


def test_tools_that_the_client_runs_hide_nothing() -> None:
    for tools in (
        b"null",
        b"[]",
        b'[{"type":"function","function":{"name":"f"}},{"type":"custom","name":"web_search"}]',
    ):
        assert bound(b'{"model":"m","messages":[],"tools":' + tools + b"}") < 2_000


def test_a_picture_in_the_schema_of_a_tool_is_text() -> None:
    schema = {"default": {"url": "data:image/png;base64," + "A" * 50_000}}
    tools = json.dumps([{"type": "function", "function": {"name": "f", "parameters": schema}}]).encode()
    assert bound(b'{"tools":' + tools + b"," + body(TEXT, image(1_000))[1:]) > 50_000


def test_escapes_of_other_signs_hide_nothing() -> None:
    assert bound(b'{"model":"m","input":"caf\\u00e9 \\u003cb\\u003e"}') < 1_000


def test_the_context_bounds_everything() -> None:
    assert bound(body({"type": "text", "text": "x" * 10_000}), context=5_000) == 5_000
