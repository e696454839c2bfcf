"""How commands reach the admin listener: straight, with its token, and with words when they do not."""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.cli import asking
from proxy.cli.table import Page


async def ask(url: str, *more: str, order: object | None = None) -> int:
    parser = argparse.ArgumentParser()
    asking.add_connection(parser)
    args = parser.parse_args(["--admin", url, *more])

    def lines(answer: dict[str, int], page: Page) -> Iterator[str]:
        yield f"told {answer}"

    def command() -> int:
        return asking.report(args, "/thing?x=1", dict[str, int], lines=lines, order=order)

    return await asyncio.get_running_loop().run_in_executor(None, command)


class Listener:
    """Notes what it is asked, and gives one answer."""

    def __init__(self, reply: bytes = b'{"a":1}', status: int = 200, **headers: str) -> None:
        self.asked: list[tuple[str, str, str | None, bytes]] = []
        self._reply, self._status, self._headers = reply, status, headers
        self._app = web.Application()
        self._app.router.add_route("*", "/{path:.*}", self._serve)

    async def _serve(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization")
        self.asked.append((request.method, request.path_qs, token, await request.read()))
        return web.Response(body=self._reply, status=self._status, headers=self._headers)

    async def ask(self, *more: str, order: object | None = None) -> int:
        async with TestServer(self._app) as server:
            return await ask(f"http://127.0.0.1:{server.port}/", *more, order=order)


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADGATE_ADMIN_TOKEN", raising=False)


async def test_an_answer_is_shown_in_lines_or_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    listener = Listener()
    assert [await listener.ask(), await Listener().ask("--json")] == [0, 0]
    assert capsys.readouterr().out == "told {'a': 1}\n{\"a\":1}\n"
    assert listener.asked == [("GET", "/thing?x=1", None, b"")]


async def test_an_order_is_posted(capsys: pytest.CaptureFixture[str]) -> None:
    listener = Listener(status=201)
    assert await listener.ask(order={"usd": "0.50"}) == 0
    assert listener.asked == [("POST", "/thing?x=1", None, b'{"usd":"0.50"}')]


async def test_when_nothing_listens_the_way_out_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert await ask(f"http://127.0.0.1:{unused.getsockname()[1]}") == 1
    assert "start it with `headgate up`" in capsys.readouterr().err


async def test_the_token_comes_from_the_environment_or_a_file_and_is_never_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("operator-token\n")
    from_file, from_environment = Listener(), Listener()
    assert await from_file.ask("--token-file", str(tmp_path / "token")) == 0
    monkeypatch.setenv("HEADGATE_ADMIN_TOKEN", "operator-token")
    assert await from_environment.ask() == 0
    assert [each.asked[0][2] for each in (from_file, from_environment)] == ["Bearer operator-token"] * 2
    assert "operator-token" not in "".join(capsys.readouterr())


ANSWERS = [
    (401, b"{}", 1, "HEADGATE_ADMIN_TOKEN"),
    (400, b'{"error": {"message": "since must be like 30m", "code": "x"}}', 2, "since must be like"),
    (404, b'{"error": {"message": "no run of this id", "code": "x"}}', 1, "no run of this id"),
    (302, b"", 1, "not the admin listener"),
    (200, b"<html>", 1, "malformed"),
]


@pytest.mark.parametrize(("status", "reply", "code", "words"), ANSWERS)
async def test_what_cannot_be_answered_says_why_and_sets_the_exit_code(
    capsys: pytest.CaptureFixture[str], status: int, reply: bytes, code: int, words: str
) -> None:
    assert await Listener(reply, status).ask() == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8081", "http://", "http://[::1", "http://h:port"])
async def test_an_address_that_is_none_is_wrong_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await ask(url) == 2
    assert "--admin" in capsys.readouterr().err


async def test_a_token_file_that_cannot_be_read_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await ask("http://127.0.0.1:1", "--token-file", "/nowhere/at/all") == 2
    assert "the token file /nowhere/at/all cannot be read: No such file" in capsys.readouterr().err
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    assert await ask("http://127.0.0.1:1", "--token-file", str(binary)) == 2
    assert "it is no text" in capsys.readouterr().err


async def test_a_wrong_token_is_told_from_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await Listener(b"{}", 401).ask() == 1
    assert "wants its token" in capsys.readouterr().err
    monkeypatch.setenv("HEADGATE_ADMIN_TOKEN", "operator-token")
    assert await Listener(b"{}", 401).ask() == 1
    said = capsys.readouterr().err
    assert "has another token" in said and "operator-token" not in said


async def test_a_redirect_is_not_followed_with_the_token_nor_a_proxy_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_ADMIN_TOKEN", "operator-token")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    listener = Listener(b"", 302, Location="/taken")
    assert await listener.ask() == 1
    assert [path for _, path, _, _ in listener.asked] == ["/thing?x=1"]


def test_a_query_leaves_out_what_was_not_given() -> None:
    assert asking.with_query("/runs", {"agent": "a b", "since": None}) == "/runs?agent=a+b"
    assert asking.with_query("/runs", {"since": None}) == "/runs"
