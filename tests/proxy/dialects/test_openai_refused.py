"""Why a request was refused, in the words of vendors and engines."""

from __future__ import annotations

import pytest

from proxy.dialects.openai_refused import refused

LONG, FILTER = "context_length_exceeded", "content_filter"


@pytest.mark.parametrize(
    ("status", "codes", "message", "why"),
    [
        (400, "context_length_exceeded", "", LONG),
        (400, "400 exceed_context_size_error", "the request exceeds the available context size", LONG),  # llama.cpp
        (400, "400 badrequesterror", "This model's maximum context length is 4096 tokens.", LONG),  # vLLM
        (400, "", "The input (9000 tokens) is longer than the model's context length (4096 tokens).", LONG),  # SGLang
        (422, "validation", "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000", LONG),  # TGI
        (400, "", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", LONG),
        (400, "", "This model's maximum prompt length is 131072 but the request contains 200000 tokens.", LONG),
        (429, "tokens rate_limit_exceeded", "Request too large for gpt-5.5 on tokens per min (TPM): Limit 30000", LONG),
        (413, "", "prompt is too long: 208310 tokens > 200000 maximum", LONG),
        (400, "content_filter", "The response was filtered due to Azure's content management policy.", FILTER),
        (400, "content_policy_violation", "", FILTER),
        (403, "403", "Your chosen model requires moderation and your input was flagged for violence", FILTER),
        (403, "permission", "Content violates usage guidelines.", FILTER),
        (403, "invalid_api_key", "The context length of this key is over", None),
        (400, "invalid_request_error", "'temperature' must be at most 2", None),
        (500, "context_length_exceeded", "maximum context length", None),
        (429, "content_filter", "", None),
        (400, "", " " * 3_000 + "context length", None),
    ],
)
def test_length_and_content_are_told_from_other_mistakes(
    status: int, codes: str, message: str, why: str | None
) -> None:
    assert refused(status, codes, message) == why
