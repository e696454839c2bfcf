from __future__ import annotations

import json

import msgspec
import pytest

from proxy.dialects.openai_request import MODERATION_MODEL, read, write
from proxy.errors import ProxyError
from proxy.types import Endpoint, Target
from tests.proxy.dialects.samples import BODIES, SILENT, TARGET, call
from tests.proxy.dialects.test_multipart import TYPE, form

SAME = Target(id="up/m", provider="up", model="m", price=None)
JSON = "application/json"


def body(endpoint: Endpoint = "chat", **changes: object) -> bytes:
    return json.dumps(BODIES.get(endpoint, {"model": "m"}) | changes).encode()


def without(endpoint: Endpoint, name: str) -> bytes:
    return json.dumps({key: value for key, value in BODIES[endpoint].items() if key != name}).encode()


def test_a_head_holds_what_decides() -> None:
    options = {"include_usage": True, "x": 1}
    head = read("chat", body(stream_options=options, n=3, max_tokens=7, max_completion_tokens=5), "application/json")
    assert (head.model, head.stream, head.include_usage, head.choices, head.output_tokens_max) == (
        "m",
        True,
        True,
        3,
        7,
    )
    assert head.content_type == JSON and head.fields is not None and bytes(head.fields["n"]) == b"3"


@pytest.mark.parametrize("name", ["stream", "stream_options", "n", "max_tokens", "max_completion_tokens"])
def test_null_is_as_good_as_absent(name: str) -> None:
    head = read("chat", body(**{"stream": False, name: None}), JSON)
    assert (head.stream, head.include_usage, head.choices, head.output_tokens_max) == (False, False, 1, None)


@pytest.mark.parametrize(
    ("limits", "output_max"),
    [
        ({"max_tokens": 7}, 7),
        ({"max_output_tokens": 8}, 8),
        ({"max_tokens": 7, "max_completion_tokens": None}, 7),
        ({"max_tokens": 3, "max_output_tokens": 4, "max_completion_tokens": 5}, 5),
    ],
)
def test_of_several_output_limits_the_largest_counts(limits: dict[str, object], output_max: int) -> None:
    assert read("responses", body("responses", **limits), JSON).output_tokens_max == output_max


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        ("a", 2),
        (["a", "b", "c"], 6),
        ([[1, 2], [3]], 4),
        ([1, 2, 3], 2),
        ([], 2),
        (["\ud800"], 2),
        (["\ud800", "b"], 4),
    ],
)
def test_each_prompt_has_choices_of_its_own(prompt: object, choices: int) -> None:
    assert read("completions", body("completions", prompt=prompt, n=2), JSON).choices == choices


def test_answers_that_are_made_to_be_dropped_are_choices_as_well() -> None:
    """They are billed like the one that is returned."""
    assert read("completions", body("completions", prompt=["a", "b"], n=2, best_of=20), JSON).choices == 40
    assert read("completions", body("completions", prompt="a", best_of=None), JSON).choices == 1


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"best_of": 0}, "best_of"),
        ({"model": 5}, "model"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"model": "\ud800"}, "model"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": "x"}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"n": 0}, "n"),
        ({"n": 1.0}, "n"),
        ({"n": "2"}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_completion_tokens": 5, "max_tokens": []}, "max_tokens"),
        ({"max_output_tokens": {}}, "max_output_tokens"),
        ({"messages": "hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": {}}, "messages"),
    ],
)
def test_a_wrong_type_is_refused_by_its_name(changes: dict[str, object], param: str) -> None:
    with pytest.raises(ProxyError) as caught:
        read("chat", body(**changes), JSON)
    assert (caught.value.code, caught.value.status, caught.value.param) == ("invalid_request", 400, param)
    assert param in caught.value.message


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("chat", "model"),
        ("chat", "messages"),
        ("completions", "prompt"),
        ("embeddings", "input"),
        ("embeddings", "model"),
    ],
)
def test_a_missing_field_is_named(endpoint: Endpoint, name: str) -> None:
    with pytest.raises(ProxyError) as caught:
        read(endpoint, without(endpoint, name), JSON)
    assert caught.value.param == name


def test_fields_that_nobody_reads_may_be_anything() -> None:
    assert read("chat", body(temperature="hot", tools=5, messages=[5]), JSON).model == "m"


def test_moderations_may_leave_the_model_to_its_default() -> None:
    one = call("moderations", b'{"input":"x"}')
    assert one.head.model == MODERATION_MODEL
    assert write(one, TARGET) == b'{"input":"x","model":"m-1"}'
    assert write(call("moderations", b"{ }"), TARGET) == b'{ "model":"m-1"}'


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "text/json", "application/x+json", "", "text/plain"],
)
def test_json_comes_under_many_names(content_type: str) -> None:
    assert read("chat", body(), content_type).content_type == JSON


@pytest.mark.parametrize(
    ("endpoint", "content_type"),
    [
        ("chat", "application/x-www-form-urlencoded"),
        ("chat", "text/html"),
        ("chat", "application/jsonp"),
        ("chat", TYPE),
        ("embeddings", TYPE),
    ],
)
def test_other_media_types_are_refused(endpoint: Endpoint, content_type: str) -> None:
    with pytest.raises(ProxyError) as caught:
        read(endpoint, body(endpoint), content_type)
    assert (caught.value.code, caught.value.status) == ("unsupported_media_type", 415)


def test_nothing_to_change_is_the_very_same_object() -> None:
    for raw in (body(stream=False), body(stream_options={"include_usage": True})):
        one = call("chat", raw)
        assert write(one, SAME) is one.raw
    assert write(call("responses"), SAME) == call("responses").raw
    one = call("chat")
    silent = msgspec.structs.replace(SILENT, model="m")
    assert write(one, silent) is one.raw


def test_only_the_model_is_patched() -> None:
    text = b'"\\ud800 \\"model\\":\\"m\\""'
    raw = b'{ "messages" : [{"content":%b}],\n "seed":1.10, "model"\t: "m" , "big":9223372036854775808}' % text
    assert write(call("chat", raw), TARGET) == raw.replace(b': "m" ', b': "m-1" ')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b',"stream_options":{"include_usage":true}'),
        (b', "stream_options" : null', b', "stream_options" : {"include_usage":true}'),
        (b',"stream_options":{}', b',"stream_options":{"include_usage":true}'),
        (b',"stream_options":{"include_usage": false}', b',"stream_options":{"include_usage": true}'),
        (b',"stream_options":{ "x":1E2 }', b',"stream_options":{ "x":1E2 ,"include_usage":true}'),
    ],
)
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_stream_is_asked_to_report_its_usage(endpoint: Endpoint, before: bytes, after: bytes) -> None:
    start = b'{"model":"m","messages":[],"prompt":"","stream":true'
    assert write(call(endpoint, start + before + b"}"), SAME) == start + after + b"}"


def test_a_form_is_read_and_spliced() -> None:
    raw = form(('name="file"; filename="a"', bytes(range(256))), ('name="model"', b"m"), ('name="stream"', b"True"))
    one = call("transcriptions", raw, TYPE)
    assert (one.head.model, one.head.stream, one.head.fields, one.head.content_type) == ("m", True, None, TYPE)
    assert write(one, TARGET) == raw.replace(b"\r\n\r\nm\r\n", b"\r\n\r\nm-1\r\n")
    assert write(one, SAME) is one.raw
    assert call("images", form(('name="model"', b"m"), ('name="n"', b"3")), TYPE).head.choices == 3


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ((("model", b""),), "model"),
        ((), "model"),
        ((("model", b"\xff"),), "model"),
        ((("model", b"x" * 1025),), "model"),
        ((("model", b"m"), ("stream", b"maybe")), "stream"),
        ((("model", b"m"), ("n", b"0")), "n"),
        ((("model", b"m"), ("n", "٣".encode())), "n"),
    ],
)
def test_a_wrong_form_field_is_refused_by_its_name(fields: tuple[tuple[str, bytes], ...], param: str) -> None:
    raw = form(*[(f'name="{name}"', value) for name, value in fields])
    with pytest.raises(ProxyError) as caught:
        read("images", raw, TYPE)
    assert caught.value.param == param
