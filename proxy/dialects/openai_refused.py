"""Why an upstream refused a request: because it is too long, because of what is in it, or for another reason.

Decides by the vendors' codes first and by the words of their messages last: engines of one's own have no codes for it.
What follows from it, another model perhaps, is `policies.fallback`'s word. OpenAI API reference, "Error codes"; the
words are those of vLLM, SGLang, TGI, llama.cpp and of the vendors behind OpenAI-compatible addresses.
"""

from __future__ import annotations

from typing import Final, Literal

Refused = Literal["context_length_exceeded", "content_filter"]

STATUSES: Final = frozenset({400, 403, 413, 422})
TOO_LARGE_STATUS: Final = 429  # for a request that is larger than all that a minute allows: it will never fit
TOO_LARGE_WORDS: Final = ("request too large",)
MESSAGE_CHARS_MAX: Final = 2_000
LONG_CODES: Final = ("context_length", "context_size", "context_window", "string_above_max_length")
LONG_WORDS: Final = (
    "context length",
    "context window",
    "context size",
    "maximum prompt length",
    "prompt is too long",
    "exceeds the maximum number of tokens",
    "`max_new_tokens` must be",
)
FILTER_CODES: Final = ("content_filter", "content_policy", "responsibleai", "moderation", "prohibited_content")
FILTER_WORDS: Final = ("content management policy", "content policy", "input was flagged", "usage guidelines")


def refused(status: int, codes: str, message: str) -> Refused | None:
    """`codes`: everything in the error that is a code or a type. None: for another reason."""
    if status == TOO_LARGE_STATUS and _any(TOO_LARGE_WORDS, message[:MESSAGE_CHARS_MAX].lower()):
        return "context_length_exceeded"
    if status not in STATUSES:
        return None
    codes, message = codes.lower(), message[:MESSAGE_CHARS_MAX].lower()
    # The filter first: its messages may well speak of the prompt. A 403 is of the account, unless it names content.
    if _any(FILTER_CODES, codes) or _any(FILTER_WORDS, message):
        return "content_filter"
    if status != 403 and (_any(LONG_CODES, codes) or _any(LONG_WORDS, message)):
        return "context_length_exceeded"
    return None


def _any(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)
