from __future__ import annotations

import json

from proxy.dialects.base import Dialect
from proxy.dialects.openai_chat import OpenAI
from proxy.dialects.openai_passage import ChatPassage, PlainPassage
from proxy.dialects.openai_responses import ResponsesPassage
from proxy.errors import ProxyError
from tests.proxy.dialects.samples import DONE, TARGET, call, delta


def test_the_dialect_keeps_its_protocol() -> None:
    dialect: Dialect = OpenAI()
    assert dialect.name == "openai"
    one = call()
    assert json.loads(dialect.write(one, TARGET))["model"] == "m-1"
    whole = dialect.reply_of(one, delta("hi", finish="stop") + DONE)
    assert dialect.reply(one, whole.body).text_bytes == 2
    assert b'"content":"hi"' in dialect.stream_of(one, whole)
    assert dialect.failure(503, {}, b"").status == 503
    error = ProxyError("overloaded", "later")
    assert dialect.error(error)[0] == 503
    assert dialect.error_event(error, "responses").startswith(b"event: error\n")


def test_each_endpoint_has_the_passage_of_its_streams() -> None:
    dialect = OpenAI()
    kinds = {"chat": ChatPassage, "completions": ChatPassage, "responses": ResponsesPassage, "speech": PlainPassage}
    for endpoint, kind in kinds.items():
        assert type(dialect.passage(call(endpoint), TARGET)) is kind  # type: ignore[arg-type]  # literals
