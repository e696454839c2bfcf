from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.multipart import HEAD_BYTES_MAX, PARTS_MAX, file_name, find_fields
from proxy.errors import ProxyError
from tests.effort import examples

TYPE = 'multipart/form-data; boundary="b-1"'
NAMES = frozenset({"model", "stream"})


def form(*parts: tuple[str, bytes], boundary: str = "b-1") -> bytes:
    heads = [(f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode(), body) for head, body in parts]
    return b"".join(head + body + b"\r\n" for head, body in heads) + f"--{boundary}--\r\n".encode()


def values(raw: bytes, content_type: str = TYPE) -> dict[str, bytes]:
    return {name: raw[at] for name, at in find_fields(raw, content_type, NAMES).items()}


@examples(100)
@given(st.binary(max_size=60), st.binary(max_size=20))
def test_named_fields_are_found_beside_any_file(blob: bytes, model: bytes) -> None:
    if b"--b-1" in blob + model:
        return
    raw = form(('name="file"; filename="a.mp3"', blob), ('name="model"', model), ('name="other"', b"x"))
    assert values(raw) == {"model": model}


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=b-1",
        "Multipart/Form-Data; charset=utf-8; Boundary=b-1",
        'multipart/form-data; boundary="b-1"; x=y',
    ],
)
def test_the_boundary_is_read_in_every_form(content_type: str) -> None:
    assert values(b"preamble\r\n" + form(("name=model", b"w"), ('name="stream"', b"")), content_type) == {
        "model": b"w",
        "stream": b"",
    }


def test_a_file_name_is_not_a_field_name() -> None:
    assert values(form(('name="file"; filename="x; name=model"', b"evil"), ('name="model"', b"good"))) == {
        "model": b"good"
    }


TWO_NAMES = form(('name="a"\r\ncontent-disposition: form-data; name="model"', b"m"))
GOOD = form(('name="model"', b"m"))


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (GOOD, "multipart/form-data"),
        (GOOD, "multipart/form-data; boundary=" + "b" * 71),
        (GOOD, "multipart/form-data; boundary=\u00e9"),
        (GOOD, "multipart/form-data; boundary=other"),
        (b"", TYPE),
        (GOOD[:-10], TYPE),
        (b"--b-1x" + GOOD[5:], TYPE),
        (b"--b-1\r\nContent-Type: text/plain\r\n\r\nm\r\n--b-1--", TYPE),
        (TWO_NAMES, TYPE),
        (form(('name="model"', b"m\r\n--b-1ab")), TYPE),
        (form(('name="' + "x" * HEAD_BYTES_MAX + '"', b"m")), TYPE),
        (form(*[('name="x"', b"")] * (PARTS_MAX + 1)), TYPE),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(raw: bytes, content_type: str) -> None:
    with pytest.raises(ProxyError) as caught:
        find_fields(raw, content_type, NAMES)
    assert caught.value.code == "invalid_request"


def test_a_field_named_twice_is_refused_by_its_name() -> None:
    with pytest.raises(ProxyError) as caught:
        values(form(('name="model"', b"a"), ('name="model"', b"b")))
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ('name="model"; filename="in.jsonl"', "in.jsonl"),
        ("name=model; FileName=in.jsonl", "in.jsonl"),
        ('filename="ü.jsonl"; name="model"', "ü.jsonl"),
        ('name="model"', ""),
    ],
)
def test_a_file_is_called_what_its_own_head_says(head: str, name: str) -> None:
    before = b'x\r\nContent-Disposition: form-data; name="y"; filename="other"'
    raw = form(('name="first"; filename="first"', before), (head, b"content"))
    assert file_name(raw, find_fields(raw, TYPE, NAMES)["model"]) == name
