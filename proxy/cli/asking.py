"""How commands ask the admin listener of a running gate, and what they do with its answer.

Only the gate opens its ledger, so they ask it over HTTP, straight to the address given: no proxy of the environment, no
redirect followed with the token. `--json` prints the answer as it came; otherwise lines, in a pipe nothing but ASCII.
Exit codes: 0 fine, 1 no answer or nothing of that id, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from proxy.cli.table import Page

ADMIN_URL = "http://127.0.0.1:8081"
TIMEOUT_S = 60.0

T = TypeVar("T")


class Refusal(Exception):
    """No answer; the message is for the person, the code for the shell."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _Question(msgspec.Struct, frozen=True):
    target: str
    headers: dict[str, str]
    method: str = "GET"
    body: bytes | None = None


class _Error(msgspec.Struct):
    message: str


class _ErrorReply(msgspec.Struct):
    error: _Error


def add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--admin", metavar="URL", default=ADMIN_URL, help=f"the admin listener ({ADMIN_URL})")
    parser.add_argument("--token-file", metavar="FILE", help="its token, else from HEADGATE_ADMIN_TOKEN")
    parser.add_argument("--json", action="store_true", help="print the answer as it came")


def report(
    args: argparse.Namespace,
    target: str,
    shape: type[T],
    *,
    lines: Callable[[T, Page], Iterable[str]],
    order: object | None = None,
) -> int:
    """Asks and prints; the exit code. `order`: a body to be posted."""
    try:
        body = _ask(args.admin, target, _token(args.token_file), order)
        if args.json:
            sys.stdout.write(body.decode() + "\n")
            return 0
        answer = msgspec.json.decode(body, type=shape)
    except (Refusal, msgspec.DecodeError) as refused:
        return refuse(refused)
    page = Page(sys.stdout)
    for line in lines(answer, page):
        page.write(line)
    return 0


def answer(args: argparse.Namespace, target: str, shape: type[T], order: object | None = None) -> T:
    """For who asks more than once, or does more than print. Raises Refusal."""
    try:
        return msgspec.json.decode(_ask(args.admin, target, _token(args.token_file), order), type=shape)
    except msgspec.DecodeError as error:
        raise Refusal(str(error)) from error


def refuse(refused: Exception) -> int:
    sys.stderr.write(f"headgate: {refused}\n")
    return refused.exit_code if isinstance(refused, Refusal) else 1


def with_query(path: str, parameters: dict[str, str | None]) -> str:
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    return f"{path}?{query}" if query else path


def _token(file: str | None) -> str:
    if file is None:
        return os.environ.get("HEADGATE_ADMIN_TOKEN", "")
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Refusal(f"the token file {file} cannot be read: {why}", 2) from error


@contextmanager
def opened(
    args: argparse.Namespace, target: str, headers: Mapping[str, str], *, timeout_s: float
) -> Iterator[HTTPResponse]:
    """A reply that its reader takes its time for. Raises Refusal."""
    connection = _connection(args.admin, timeout_s)
    own = _headers(_token(args.token_file), posts=False)
    try:
        reply = _replied(connection, args.admin, _Question(target, own | dict(headers)))
        if reply.status != 200:
            raise _refusal(reply.status, reply.read(), args.admin, sent="Authorization" in own)
        yield reply
    finally:
        connection.close()


def _ask(admin: str, target: str, token: str, order: object | None) -> bytes:
    connection = _connection(admin, TIMEOUT_S)
    headers = _headers(token, posts=order is not None)
    body = None if order is None else msgspec.json.encode(order)
    try:
        reply = _replied(connection, admin, _Question(target, headers, "GET" if body is None else "POST", body))
        said = reply.read()
    except (OSError, HTTPException) as error:
        raise Refusal(f"no answer from {admin}: {error}") from error
    finally:
        connection.close()
    if reply.status not in (200, 201):
        raise _refusal(reply.status, said, admin, sent=bool(token))
    return said


def _connection(admin: str, timeout_s: float) -> HTTPConnection:
    try:
        url = urlsplit(admin)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise Refusal(f"--admin {admin}: {error}", 2) from error
    if url.scheme not in ("http", "https") or not host:
        raise Refusal(f"--admin {admin} is not a URL like {ADMIN_URL}", 2)
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    return kind(host, port, timeout=timeout_s)


def _replied(connection: HTTPConnection, admin: str, question: _Question) -> HTTPResponse:
    try:
        path = urlsplit(admin).path.rstrip("/") + question.target
        connection.request(question.method, path, question.body, question.headers)
        return connection.getresponse()
    except ConnectionRefusedError as error:
        hint = f"nothing listens at {admin}: start it with `headgate up`, or name its address with --admin"
        raise Refusal(hint) from error
    except (OSError, HTTPException, UnicodeError) as error:
        raise Refusal(f"no answer from {admin}: {error}") from error


def _headers(token: str, *, posts: bool) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if posts:
        headers["Content-Type"] = "application/json"
    return headers | ({"Authorization": f"Bearer {token}"} if token else {})


def _refusal(status: int, body: bytes, admin: str, *, sent: bool) -> Refusal:
    """`sent`: a token was."""
    if status == 401 and sent:
        return Refusal(f"{admin} has another token: look at HEADGATE_ADMIN_TOKEN, or what --token-file names")
    if status == 401:
        return Refusal(f"{admin} wants its token: set HEADGATE_ADMIN_TOKEN or give --token-file")
    try:
        message = msgspec.json.decode(body, type=_ErrorReply).error.message
    except msgspec.DecodeError:
        return Refusal(f"{admin} is not the admin listener of a gate: it answered {status}")
    return Refusal(message, 2 if status == 400 else 1)
