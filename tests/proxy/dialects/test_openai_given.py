"""A reply made from a text is one that every reader of replies understands."""

from __future__ import annotations

import pytest
from msgspec import structs

from proxy.dialects.openai_chat import OpenAI
from proxy.dialects.openai_given import given
from proxy.types import Endpoint, Head
from tests.build import call

TEXT = 'A "draft" of two lines:\nfünf €'


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_whole(endpoint: Endpoint) -> None:
    asked, dialect = call(endpoint=endpoint), OpenAI()
    body = given(asked, TEXT)
    assert body is not None
    reply = dialect.reply(asked, body)
    assert (reply.finish_reason, reply.usage is not None and reply.usage.output_total) == ("length", 0)
    (said,) = dialect.said(body)
    assert (said.text, said.finish_reason) == (TEXT, "length")


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_as_a_stream(endpoint: Endpoint) -> None:
    asked = structs.replace(call(endpoint=endpoint), head=Head(model="m", stream=True))
    body = given(asked, TEXT)
    assert body is not None
    assert body.endswith(b"data: [DONE]\n\n")
    (said,) = OpenAI().said(body)
    assert (said.text, said.finish_reason) == (TEXT, "length")


def test_other_endpoints_have_none() -> None:
    assert given(call(endpoint="embeddings"), TEXT) is None
    assert given(call(endpoint="responses"), TEXT) is None
