"""Which streams another upstream may go on with, and which upstreams those are."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw, structs

from policies.survival import CONTINUATIONS_MAX, heirs, prepared, why_never, why_not
from proxy.errors import ProxyError
from proxy.types import Call, Endpoint, Head, Plan, Target, Traits
from tests.build import call, target, with_traits

GOES_ON = Traits(continues_messages=True)


def chat(body: str = "{}", *, stream: bool = True, choices: int = 1, endpoint: Endpoint = "chat") -> Call:
    fields = msgspec.json.decode(body, type=dict[str, Raw])
    return call(head=Head("m", stream=stream, choices=choices, fields=fields), endpoint=endpoint)


def engine(id: str) -> Target:
    return with_traits(target(id), GOES_ON)


def plan(*steps: tuple[Target, ...]) -> Plan:
    return Plan("single", steps, "test")


A, B, OTHER = engine("a/m"), engine("b/m"), engine("c/other")
PLAIN = target("d/m")


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"temperature":1.5,"tools":[],"stop":["x"],"seed":4}',
        '{"logprobs":false,"top_logprobs":0,"echo":null,"response_format":{"type":"text"},"min_tokens":0}',
    ],
)
def test_a_chat_of_one_answer_can_be_continued(body: str) -> None:
    assert why_never(chat(body)) is None


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"logprobs":true}', "logprobs"),
        ('{"response_format":{"type":"json_schema","json_schema":{}}}', "response_format"),
        ('{"response_format":"text"}', "response_format"),
        ('{"guided_json":{"type":"object"}}', "guided_json"),
        ('{"structured_outputs":{"regex":"a"}}', "structured_outputs"),
        ('{"echo":true}', "echo"),
        ('{"continue_final_message":true}', "continue_final_message"),
        ('{"min_tokens":5}', "min_tokens"),
    ],
)
def test_what_an_engine_would_begin_anew_rules_it_out(body: str, name: str) -> None:
    assert why_never(chat(body)) == f"`{name}` does not go together with it"


def test_other_endpoints_and_several_answers_are_not_continued() -> None:
    assert why_never(chat(endpoint="completions")) == "only chats are continued"
    assert why_never(call()) == "only chats are continued"  # no JSON
    assert why_never(chat(choices=2)) == "it has several answers"


def test_what_can_never_be_continued_is_not_remembered() -> None:
    assert prepared(chat(), plan((A, PLAIN)))
    assert prepared(chat(), plan((PLAIN,), (A, B)))
    assert not prepared(chat(), plan((A,), (B,)))  # alone in its step
    assert not prepared(chat(), plan((PLAIN, structs.replace(PLAIN, id="e/m"))))
    assert not prepared(chat(stream=False), plan((A, B)))
    assert not prepared(chat('{"echo":true}'), plan((A, B)))


@pytest.mark.parametrize("code", ["upstream_broken", "upstream_stalled", "upstream_error", "upstream_overloaded"])
def test_an_upstream_that_fails_is_replaced_twice(code: str) -> None:
    error = ProxyError(code, "no")
    assert [why_not(error, times) for times in range(CONTINUATIONS_MAX)] == [None, None]
    assert why_not(error, CONTINUATIONS_MAX) == "it was continued 2 times"


@pytest.mark.parametrize("code", ["deadline_exceeded", "content_filter", "upstream_too_large", "internal"])
def test_what_would_come_again_is_not_tried_again(code: str) -> None:
    assert why_not(ProxyError(code, "no"), 0) == f"{code} would come again"


def test_heirs_have_the_same_model_and_stand_in_the_same_step() -> None:
    assert heirs(plan((A, B, OTHER, PLAIN)), A) == (B,)
    assert heirs(plan((A, B, OTHER, PLAIN)), PLAIN) == (A, B)
    assert heirs(plan((OTHER,), (A, B)), B) == (A,)
    assert heirs(plan((A,), (B,)), A) == ()
    assert heirs(plan((A,)), B) == ()
