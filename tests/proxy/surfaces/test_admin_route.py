"""The table of rows: which handler is found, with what, and how a body is read."""

from __future__ import annotations

import pytest
from msgspec import Struct

from proxy.errors import ProxyError
from proxy.surfaces.admin_route import AdminRequest, Reply, Route, Routes, json_reply


async def runs(asked: AdminRequest) -> Reply:
    raise AssertionError("rows are found here, not asked")


async def run(asked: AdminRequest) -> Reply:
    raise AssertionError


async def stop(asked: AdminRequest) -> Reply:
    raise AssertionError


ROUTES = Routes(
    [
        Route("GET", "/runs", runs),
        Route("GET", "/runs/{id}", run),
        Route("DELETE", "/runs/{id}", stop),
        Route("POST", "/runs/{id}/calls/{number}", stop),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "handler", "params"),
    [
        ("GET", "/runs", runs, {}),
        ("HEAD", "/runs", runs, {}),
        ("GET", "/%72uns", runs, {}),
        ("GET", "/runs/a", run, {"id": "a"}),
        ("DELETE", "/runs/a", stop, {"id": "a"}),
        ("GET", "/runs/run%201%2F%C3%BC", run, {"id": "run 1/ü"}),
        ("GET", "/runs/%2525", run, {"id": "%25"}),
        ("GET", "/runs/{id}", run, {"id": "{id}"}),
        ("GET", "/runs/..", run, {"id": ".."}),
        ("GET", "/runs/%ff", run, {"id": "\ufffd"}),
        ("GET", "/runs/a+b", run, {"id": "a+b"}),
        ("POST", "/runs/a/calls/2", stop, {"id": "a", "number": "2"}),
    ],
)
def test_a_row_is_found_and_what_stands_for_its_names(
    method: str, path: str, handler: object, params: dict[str, str]
) -> None:
    assert ROUTES.find(method, path) == (handler, params)


@pytest.mark.parametrize(
    "path", ["", "/", "runs", "//runs", "/runs/", "/runs//", "/runs/a/", "/Runs", "/runs%2Fa", "/runs/a/calls", "*"]
)
def test_what_is_no_row_is_404(path: str) -> None:
    with pytest.raises(ProxyError) as refusal:
        ROUTES.find("GET", path)
    assert (refusal.value.status, refusal.value.code) == (404, "unknown_path")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/runs", "GET,HEAD"),
        ("PUT", "/runs/a", "DELETE,GET,HEAD"),
        ("OPTIONS", "/runs/a", "DELETE,GET,HEAD"),
        ("HEAD", "/runs/a/calls/2", "POST"),
        ("get", "/runs", "GET,HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(method: str, path: str, allowed: str) -> None:
    with pytest.raises(ProxyError) as refusal:
        ROUTES.find(method, path)
    assert (refusal.value.status, refusal.value.headers) == (405, (("Allow", allowed),))


class Order(Struct, forbid_unknown_fields=True):
    count: int


def asked(kind: str | None, body: bytes) -> AdminRequest:
    headers = {} if kind is None else {"content-type": kind}
    return AdminRequest("POST", "/", "", headers, "127.0.0.1", body=body)


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON ;x"])
def test_a_body_is_read_as_what_is_expected(kind: str) -> None:
    assert asked(kind, b'{"count": 3}').order(Order, "a count") == Order(3)


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/jsonp", "multipart/form-data"])
def test_a_body_of_another_kind_is_not_looked_at(kind: str | None) -> None:
    with pytest.raises(ProxyError, match="send a count as application/json") as refusal:
        asked(kind, b'{"count": 3}').order(Order, "a count")
    assert refusal.value.status == 415


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"count": "3"}', b'{"count": 3, "more": 1}'])
def test_a_body_that_is_not_what_is_expected_is_refused(body: bytes) -> None:
    with pytest.raises(ProxyError, match="this does not describe a count: ") as refusal:
        asked("application/json", body).order(Order, "a count")
    assert refusal.value.status == 400


def test_two_requests_do_not_share_what_is_noted_on_one() -> None:
    first, second = asked(None, b""), asked(None, b"")
    first.params["id"] = first.key_id = "a"
    assert (second.params, second.key_id) == ({}, None)


def test_a_reply_is_compact_json() -> None:
    assert json_reply({"a": [1]}, 201) == Reply(b'{"a":[1]}', 201, "application/json")
