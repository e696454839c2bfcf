"""Counts of tokens without a tokenizer: the estimate before a call, the bounds on what a provider reports after it, and
which vocabulary, if any, could count exactly.

A quarter of the bytes is within -9 to +2 % for text in most scripts, but half of the truth and less for base64, so
attachments are cut out of a body by their structure and taken at a fixed size. Exact counts are `pricing.vocabulary`'s,
which is a module of its own because a loaded vocabulary takes 87 MB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Raw, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from proxy.types import Usage

BYTES_PER_TOKEN = 4
# A high-detail image of 1024 x 1024 is 765 tokens at OpenAI, about 1,400 at Anthropic and 1,120 at Google.
IMAGE_TOKENS = 1_100
# Documents and sound grow with their size: a PDF page of 50 to 75 KB of base64 is billed as 1,500 to 3,000 tokens.
FILE_BYTES_PER_TOKEN = 32
# Looking for attachments in text that has none would cost more than the rest of the estimate (80 us for 200 KB), so a
# sample of the body is asked first. Attachments too short to show in it cost about IMAGE_TOKENS as text, too.
SAMPLE_STRIDE = 128
_SAMPLE_RUN = b"A" * 48
_ALPHABET = bytes(65 if chr(byte).isalnum() or byte in b"+/" else 32 for byte in range(128)) + b" " * 128
_BASE64 = b";base64,"
_IMAGE = b"data:image/"
_TYPE_BYTES_MAX = 64  # longest "data:<media type>" looked at

# What a chat template may put around the text: before a call, around each message and tool, and before all tools.
CALL_OVERHEAD = 256
MESSAGE_OVERHEAD = 8
TOOL_OVERHEAD = 32
TOOLS_OVERHEAD = 512
# The most one image can be. 48,169 is gpt-4o-mini's highest, eight tiles; other models stay far below.
IMAGE_TOKENS_MAX = 16_384
_IMAGE_MOST = (("gpt-4o-mini", 48_169),)
_MESSAGE, _TOOL = b'"role"', b'"function"'
_PICTURES = re.compile(rb'"image_url"\s*:').findall
# A quote inside a string is escaped, so this is the value of that name and no text that looks like it.
_EMBEDDED = re.compile(rb'"(?:image_)?url"\s*:\s*"data:image/[\w.+-]+$').search
# Nobody writes a letter as an escape but to hide a name from whoever reads the bytes.
_HIDDEN = re.compile(rb"\\u00(?:[46][1-9a-fA-F]|[57][0-9aA]|5[fF])").search
# What the text does not show the size of: kept or fetched by the provider, or unpacked by it.
_KEPT = frozenset(
    (
        *("cached_content", "conversation", "extra_body", "previous_response_id"),
        *("plugins", "search_parameters", "web_search_options"),
        *("chat_template", "mm_processor_kwargs"),  # they say how often a text is repeated, how finely a picture is cut
    )
)
_FETCHED = (b'"file_', b'"audio_url"', b'"document_url"', b'"video_url"', b'"pmpt_', b'"item_reference"')
_OWN_TOOLS = frozenset({"function", "custom"})  # the client runs these; whatever else there is, the provider does

# What to take away first when a report exceeds its bound: the cheapest class, so that the clamp favours nobody.
_CHEAPEST_FIRST = (
    "input_cached",
    "input_uncached",
    "input_image",
    "input_audio",
    "input_cache_write_5m",
    "input_cache_write_1h",
    "output",
    "reasoning",
    "output_audio",
)

# Beginnings of model names; the longest that fits decides, None where no public vocabulary is known to be the model's.
_ENCODINGS = {
    "babbage-002": "cl100k_base",
    "chatgpt-4o": "o200k_base",
    "davinci-002": "cl100k_base",
    "gpt-3.5": "cl100k_base",
    "gpt-35-turbo": "cl100k_base",
    "gpt-4": "cl100k_base",
    "gpt-4.1": "o200k_base",
    "gpt-4.5": "o200k_base",
    "gpt-4o": "o200k_base",
    "gpt-5": "o200k_base",
    "gpt-oss-": "o200k_base",  # its own vocabulary differs in special tokens only
    "o1": "o200k_base",
    "o3": "o200k_base",
    "o4-mini": "o200k_base",
    "text-embedding-3-": "cl100k_base",
    "text-embedding-ada-002": "cl100k_base",
}
_LONGEST_FIRST = tuple(sorted(_ENCODINGS, key=len, reverse=True))


ATTACHED_TOKENS_MAX = 2_000_000


class _Tool(Struct, gc=False):
    type: str = ""


_TOOLS: Final = Decoder(list[_Tool] | None)


def estimate(raw_bytes: int) -> int:
    """Tokens in that many bytes of text; never zero, for no call is free."""
    return max(1, -(-raw_bytes // BYTES_PER_TOKEN))


def input_estimate(raw: bytes) -> int:
    """Tokens of a request body: its text by bytes, each attachment by formula."""
    if _SAMPLE_RUN not in raw[::SAMPLE_STRIDE].translate(_ALPHABET):
        return estimate(len(raw))
    attached_bytes, tokens = 0, 0
    for before, size in _attachments(raw):
        attached_bytes += size
        tokens += IMAGE_TOKENS if _IMAGE in before else max(IMAGE_TOKENS, size // FILE_BYTES_PER_TOKEN)
        if tokens >= ATTACHED_TOKENS_MAX:  # above it the estimate says no more than "very many"
            break
    return tokens + estimate(len(raw) - attached_bytes)


def _attachments(raw: bytes) -> Iterator[tuple[bytes, int]]:
    """Of each `data:` URL: what stands before its base64, and the size of that."""
    start = raw.find(_BASE64)
    while start >= 0:
        data = start + len(_BASE64)
        end = raw.find(b'"', data)
        if end < 0:
            return  # not JSON: what follows counts as text
        yield raw[max(0, start - _TYPE_BYTES_MAX) : start], end - data
        start = raw.find(_BASE64, end)


def input_bound(raw: bytes, fields: Mapping[str, Raw] | None, *, model: str, context_tokens: int) -> int:
    """What the input of a request can count at most. A token of a byte-level vocabulary is a byte or more, and JSON
    never writes a character in fewer bytes than UTF-8. An image is the most the model makes of one; what the provider
    fetches, unpacks or remembers may fill the context, which bounds everything. `fields` is the top level of `raw`."""
    if _has_more_than_shows(raw, fields or {}):
        return context_tokens
    tools = raw.count(_TOOL)
    bound = len(raw) + CALL_OVERHEAD + MESSAGE_OVERHEAD * raw.count(_MESSAGE)
    bound += (TOOLS_OVERHEAD if tools else 0) + TOOL_OVERHEAD * tools
    pictures = len(_PICTURES(raw)) if b"image" in raw else 0
    if pictures:
        shown = [bytes(fields[name]) for name in ("messages", "input") if fields and name in fields]
        # What looks like a picture elsewhere, in the schema of a tool say, is text to the model.
        embedded = [size for part in shown for before, size in _attachments(part) if _EMBEDDED(before)]
        bound += pictures * _image_most(model) - sum(embedded[:pictures])
    return min(bound, context_tokens)


def _has_more_than_shows(raw: bytes, fields: Mapping[str, Raw]) -> bool:
    return (
        not _KEPT.isdisjoint(fields)
        or any([name in raw for name in _FETCHED])  # noqa: C419  (a few short searches)
        or ("tools" in fields and not _runs_its_tools(fields["tools"]))
        or (b"\\u00" in raw and _HIDDEN(raw) is not None)
    )


def _runs_its_tools(tools: Raw) -> bool:
    """Whether the client does, all of them."""
    try:
        return all(tool.type in _OWN_TOOLS for tool in _TOOLS.decode(tools) or ())
    except ValueError:  # not what is known as a list of tools
        return False


def _image_most(model: str) -> int:
    name = model.lower().rpartition("/")[2]
    return next((most for start, most in _IMAGE_MOST if name.startswith(start)), IMAGE_TOKENS_MAX)


def plausible(usage: Usage, lower: int, upper: int) -> Usage:
    """Reported usage with at least `lower` output tokens (half of what we saw relayed; 0 if nothing was, so that a
    reported zero stays zero) and at most `upper` tokens in all (what the context and the choices can hold). A figure
    that had to be changed is flagged `clamped`; one that is in bounds is returned as the object it was."""
    output = usage.output_total
    total = usage.input_total + output
    if lower <= output and total <= upper and min(_figures(usage)) >= 0:
        return usage
    kept = {name: max(0, figure) for name, figure in zip(_CHEAPEST_FIRST, _figures(usage), strict=True)}
    _cut(kept, upper)
    missing = min(lower, upper) - (kept["output"] + kept["reasoning"] + kept["output_audio"])
    if missing > 0:
        kept["output"] += missing
        _cut(kept, upper)
    return replace(usage, flags=(*usage.flags, "clamped"), **kept)


def _figures(usage: Usage) -> tuple[int, ...]:
    return (
        usage.input_cached,
        usage.input_uncached,
        usage.input_image,
        usage.input_audio,
        usage.input_cache_write_5m,
        usage.input_cache_write_1h,
        usage.output,
        usage.reasoning,
        usage.output_audio,
    )


def _cut(figures: dict[str, int], upper: int) -> None:
    excess = sum(figures.values()) - upper
    for name in _CHEAPEST_FIRST:
        if excess <= 0:
            return
        taken = min(excess, figures[name])
        figures[name] -= taken
        excess -= taken


def encoding_for(model: str) -> str | None:
    """The public vocabulary that counts a model's text exactly; None for most models outside OpenAI's family."""
    name = model.lower().rpartition("/")[2].removeprefix("ft:")
    start = next((start for start in _LONGEST_FIRST if name.startswith(start)), None)
    return None if start is None else _ENCODINGS[start]
