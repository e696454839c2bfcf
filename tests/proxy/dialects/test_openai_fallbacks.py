"""Lists of models that clients of other gateways send: read here, and never sent on."""

from __future__ import annotations

import msgspec
import pytest

from proxy.dialects.json_body import top_level
from proxy.dialects.openai_fallbacks import NAMES_MAX, named, taken_out
from proxy.dialects.openai_request import read, write
from proxy.errors import ProxyError
from tests.build import call, target


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"model":"a"}', ()),
        (b'{"model":"a","models":["b","c"]}', ("b", "c")),
        (b'{"model":"a","fallbacks":["b"]}', ("b",)),
        (b'{"model":"a","models":["a","b"],"fallbacks":["b","c"]}', ("b", "c")),
        (b'{"model":"a","models":null,"fallbacks":[]}', ()),
    ],
)
def test_the_clients_order_counts_and_nothing_is_named_twice(body: bytes, names: tuple[str, ...]) -> None:
    assert named(top_level(body), "a") == names


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("models", b'"b"'),
        ("models", b"[1]"),
        ("fallbacks", b'[{"model":"b","api_key":"k"}]'),
        ("fallbacks", b'[""]'),
        ("models", msgspec.json.encode([str(n) for n in range(NAMES_MAX + 1)])),
        ("models", msgspec.json.encode(["n" * 257])),
    ],
)
def test_anything_else_is_a_mistake_that_names_its_field(field: str, value: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        read("chat", b'{"model":"a","messages":[],"%b":%b}' % (field.encode(), value), "application/json")
    assert (caught.value.code, caught.value.param) == ("invalid_request", field)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"model":"real","messages":[],"models":["b"]}', b'{"model":"real","messages":[]}'),
        (
            b'{ "models": ["b"], "model": "real",\n "x": 1.10, "messages": [ ], "fallbacks" :["c"] }',
            b'{"model": "real","x": 1.10,"messages": [ ]}',
        ),
        (
            rb'{"model":"real","user":"\ud800","fallbacks":["c"],"messages":[]}',
            rb'{"model":"real","user":"\ud800","messages":[]}',
        ),
        (b'{"model":"real", "messages":[]}', b'{"model":"real", "messages":[]}'),
    ],
)
def test_the_lists_stay_here_and_every_other_value_travels_as_it_came(body: bytes, sent: bytes) -> None:
    head = read("chat", body, "application/json")
    assert write(call(head=head, raw=body), target("up/real")) == sent


def test_of_a_body_without_lists_nothing_is_copied() -> None:
    body = b'{"model":"a"}'
    fields = top_level(body)
    assert taken_out(body, fields)[0] is body
    assert taken_out(body, fields)[1] is fields
