from __future__ import annotations

import pytest

from proxy.errors import ProxyError
from proxy.reuse import Reuse
from proxy.surfaces.controls import KEY_CHARS_MAX, reuse_of


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, None),
        ({"accept": "*/*"}, None),
        ({"cache-control": "no-cache"}, Reuse(read=False)),
        ({"cache-control": "No-Store , NO-CACHE"}, Reuse(read=False, write=False)),
        ({"x-headgate-cache": "only-if-cached"}, Reuse(only=True)),
        ({"x-headgate-cache": "no-semantic"}, Reuse(semantic=False)),
        ({"cache-control": "max-age=60"}, Reuse(age_s=60.0)),
        ({"cache-control": "max-age=0"}, Reuse(age_s=0.0)),
        ({"cache-control": "max-age=-1"}, None),
        ({"cache-control": "max-age=1e9"}, None),
        ({"cache-control": "max-age=99999999999"}, None),
        ({"cache-control": "max-age=nan"}, None),
        ({"cache-control": "max-age=\u0665"}, None),
        ({"cache-control": "a-word-of-tomorrow, private"}, None),
        ({"cf-aig-skip-cache": "true"}, Reuse(read=False, write=False)),
        ({"cf-aig-skip-cache": "false"}, None),
        ({"cf-aig-cache-ttl": "30"}, Reuse(ttl_s=30.0)),
        ({"cf-aig-cache-ttl": "soon"}, None),
        ({"idempotency-key": "step-1"}, Reuse(key="step-1")),
        ({"cache-control": "no-cache", "x-headgate-cache": "no-store"}, Reuse(read=False, write=False)),
    ],
)
def test_what_headers_say(headers: dict[str, str], says: Reuse | None) -> None:
    assert reuse_of(headers, None) == says


def test_headers_add_to_what_the_body_says() -> None:
    body = Reuse(write=False, ttl_s=5.0)
    assert reuse_of({}, body) is body
    assert reuse_of({"idempotency-key": "k"}, body) == Reuse(write=False, ttl_s=5.0, key="k")


@pytest.mark.parametrize("key", ["", "x" * (KEY_CHARS_MAX + 1), "a\x7f", "a\tb"])
def test_a_name_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ProxyError) as refused:
        reuse_of({"idempotency-key": key}, None)
    assert (refused.value.code, refused.value.param) == ("invalid_request", "Idempotency-Key")


def test_the_longest_name_is_one() -> None:
    assert reuse_of({"idempotency-key": "x" * KEY_CHARS_MAX}, None) == Reuse(key="x" * KEY_CHARS_MAX)
