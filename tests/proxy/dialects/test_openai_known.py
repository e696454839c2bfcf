from __future__ import annotations

import pytest
from msgspec import Raw

from proxy.dialects.openai_known import reuse_of
from proxy.errors import ProxyError
from proxy.reuse import Reuse


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"null", None),
        (b"{}", Reuse()),
        (b'{"no-cache":true}', Reuse(read=False)),
        (b'{"no-store":true,"namespace":"x"}', Reuse(write=False)),
        (b'{"ttl":60,"s-maxage":10}', Reuse(ttl_s=60.0, age_s=10.0)),
        (b'{"ttl":-5}', Reuse(ttl_s=0.0)),
        (b'{"ttl":null}', Reuse()),
    ],
)
def test_what_a_body_says(text: bytes, says: Reuse | None) -> None:
    assert reuse_of({"cache": Raw(text)}) == says


def test_a_body_without_it_says_nothing() -> None:
    assert reuse_of({"model": Raw(b'"m"')}) is None


@pytest.mark.parametrize("text", [b'"on"', b"true", b"[]", b'{"ttl":"60"}', b'{"ttl":1e999}', b'{"no-cache":1}'])
def test_what_cannot_be_meant_is_refused(text: bytes) -> None:
    with pytest.raises(ProxyError) as refused:
        reuse_of({"cache": Raw(text)})
    assert (refused.value.code, refused.value.param) == ("invalid_request", "cache")
