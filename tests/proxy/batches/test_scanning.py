"""The input of a batch: what counts as a request, where it stands, and what is wrong with it, line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.batches.scanning import PROBLEMS_MAX, Scan, line_of
from tests.proxy.batches.stage import CHAT, line, lines


def scanned(content: bytes, *, pieces: int = 1 << 20, lines_max: int = 100) -> Scan:
    scan = Scan(CHAT, lines_max)
    for at in range(0, len(content), pieces):
        scan.feed(content[at : at + pieces])
    scan.close()
    return scan


def changed(**changes: Any) -> bytes:
    whole = json.loads(line("a")) | changes
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


@given(st.integers(1, 200), st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n  \n"]), st.booleans())
def test_requests_are_found_however_the_file_was_cut(pieces: int, between: bytes, ended: bool) -> None:
    wanted = [line(f"ü{number}").encode() for number in range(5)]
    content = between.join(wanted) + (between if ended else b"")
    scan = scanned(content, pieces=pieces)
    assert scan.problems == []
    found = [content[start : start + size] for start, size in zip(scan.starts, scan.sizes, strict=True)]
    assert [line_of(text).custom_id for text in found] == [f"ü{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"\xff", "invalid_json_line", None),
        (b'{"body":' * 100_000, "invalid_json_line", None),
        (b"[]", "invalid_type", None),
        (changed(custom_id=None), "missing_required_parameter", "custom_id"),
        (changed(custom_id=7), "invalid_type", "custom_id"),
        (changed(custom_id=""), "invalid_custom_id", "custom_id"),
        (changed(custom_id="x" * 513), "invalid_custom_id", "custom_id"),
        (changed(method="GET"), "invalid_method", "method"),
        (changed(url="/v1/embeddings"), "mismatched_url", "url"),
        (changed(body=None), "missing_required_parameter", "body"),
        (changed(body=[]), "invalid_type", "body"),
        (changed(body={}), "missing_required_parameter", "body.model"),
        (changed(body={"model": 1}), "invalid_type", "body.model"),
        (changed(body={"model": "m", "stream": True}), "invalid_request", "body.stream"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_with_its_number_and_field(
    content: bytes, code: str, param: str | None
) -> None:
    scan = scanned(line("first").encode() + b"\n\n" + content)
    [problem] = scan.problems
    assert (problem.code, problem.line, problem.param) == (code, 3, param)
    assert problem.message


def test_a_lone_surrogate_is_json_too() -> None:
    text = b'{"custom_id":"a","method":"POST","url":"%b","body":{"model":"m","input":"\\ud800"}}' % CHAT.encode()
    scan = scanned(text)
    assert scan.problems == []
    assert bytes(line_of(text).body) == b'{"model":"m","input":"\\ud800"}'


def test_a_name_twice_is_said_with_both_lines() -> None:
    [problem] = scanned(f"{line('a')}\n{line('b')}\n{line('a')}".encode()).problems
    assert (problem.code, problem.line) == ("duplicate_custom_id", 3)
    assert "line 1" in problem.message


def test_so_many_problems_are_told_and_no_more() -> None:
    assert len(scanned(b"x\n" * 1_000).problems) == PROBLEMS_MAX


def test_a_file_has_so_many_requests_and_at_least_one() -> None:
    assert scanned(lines(100).encode()).problems == []
    assert [problem.code for problem in scanned(lines(101).encode()).problems] == ["too_many_requests"]
    assert [problem.code for problem in scanned(b"").problems] == ["empty_file"]


def test_a_line_is_read_in_time_proportional_to_its_length() -> None:
    """However many pieces it comes in: each is looked at once, and put to the others once."""
    scan, piece = Scan(CHAT, 100), b"x" * 1024
    for _ in range(1000):
        scan.feed(piece)
    assert scan._rest == [piece] * 1000


def test_a_line_without_an_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.batches.scanning.LINE_MAX", 1_000)
    content = line("a").encode() + b"\n" + b"x" * 5_000 + b"\n" + line("b").encode()
    for pieces in (300, 1 << 20):
        scan = scanned(content, pieces=pieces)
        assert [(problem.code, problem.line) for problem in scan.problems] == [("line_too_long", 2)]
        assert scan.given_up
