"""What may be sent twice leaves nothing behind."""

from __future__ import annotations

import pytest
from msgspec import Raw

from policies.repeatable import why_once, why_tools_once
from proxy.types import Call, Endpoint, Head
from tests import build


def asking(endpoint: Endpoint = "chat", **fields: str) -> Call:
    raws = {name: Raw(value.encode()) for name, value in fields.items()}
    return build.call(endpoint=endpoint, head=Head(model="m", fields=raws))


@pytest.mark.parametrize(
    "call",
    [
        asking(),
        asking("completions"),
        asking("embeddings"),
        asking(store="false"),
        asking(store="null", background="false"),
        asking("responses", store="false"),
        asking("responses", store="false", previous_response_id="null"),
    ],
)
def test_an_answer_and_nothing_else_may_be_asked_for_twice(call: Call) -> None:
    assert why_once(call) is None


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (asking(store="true"), "`store`"),
        (asking("responses"), "stored"),
        (asking("responses", store="null"), "stored"),
        (asking("responses", store="false", background="true"), "`background`"),
        (asking("responses", store="false", previous_response_id='"r1"'), "`previous_response_id`"),
        (asking("responses", store="false", conversation='"c1"'), "`conversation`"),
        (asking(web_search_options="{}"), "`web_search_options`"),
        (asking("images"), "images"),
        (asking("speech"), "speech"),
        (build.call(head=Head(model="m", fields=None)), "not JSON"),
    ],
)
def test_what_leaves_something_behind_is_sent_once(call: Call, word: str) -> None:
    assert word in (why_once(call) or "")


@pytest.mark.parametrize(
    ("tools", "word"),
    [
        ('[{"type":"function","function":{"name":"f"}},{"type":"custom"}]', None),
        ("null", None),
        ("[]", None),
        ('[{"type":"function"},{"type":"mcp","server_url":"x"}]', "`mcp`"),
        ('[{"type":"web_search"}]', "`web_search`"),
        ('{"type":"function"}', "cannot be read"),
    ],
)
def test_tools_that_the_provider_runs_are_run_once(tools: str, word: str | None) -> None:
    why = why_tools_once(asking(tools=tools))
    assert why is None if word is None else word in (why or "")


def test_a_call_without_tools_runs_none() -> None:
    assert why_tools_once(asking()) is None
    assert why_tools_once(build.call()) is None
