"""Text is counted off the loop, and a tokenizer that fails costs no settlement."""

from __future__ import annotations

from proxy.counting import INLINE_CHARS, Counting


async def test_it_counts_with_the_packed_vocabularies() -> None:
    failures: list[Exception] = []
    counting = Counting(failures.append)
    assert await counting.count("hello world", "cl100k_base") == 2
    assert await counting.count("hello world", "cl100k_base") == 2  # at once, now that it is loaded
    assert await counting.count("word " * INLINE_CHARS, "cl100k_base") > INLINE_CHARS  # in a thread
    assert failures == []


async def test_a_tokenizer_that_fails_is_reported_and_counts_nothing() -> None:
    failures: list[Exception] = []
    assert await Counting(failures.append).count("text", "no such vocabulary") is None
    assert [type(failure) for failure in failures] == [ValueError]
