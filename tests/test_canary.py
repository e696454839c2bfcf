"""Secrets and prompts are sent through a whole gate, and then looked for wherever the gate writes.

A real `Gate` on a real loop, with its ledger, its log and both listeners; an upstream that repeats what it was sent,
in every kind of reply. Canaries are looked for as they are, in base64, and as URLs and JSON escape them. Content is
off, so a prompt may be in no sink at all; a credential may be with the one it belongs to and nowhere else.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from msgspec import Struct

from proxy.app import Gate
from proxy.clock import SystemClock
from proxy.config.load import load
from tests.build import call
from tests.flow.world import DONE, FINISH, Peer, Response, Upstream, read_response, token

CLIENT_KEY = "hg-canary/client+key=4f81"
WRONG_KEY = "hg-canary/wrong+key=9c02"
PROVIDER_KEY = "sk-canary/provider+key=77ab"
HEADER_SECRET = "org-canary/header+value=51de"
ADMIN_TOKEN = "adm-canary/token+value=30f7"
WRONG_TOKEN = "adm-canary/wrong+value=c4c4"
PROMPT = 'the "prompt"/canary é 6d1e'
REPLY = 'the "reply"/canary é b2a9'

CREDENTIALS = (CLIENT_KEY, WRONG_KEY, PROVIDER_KEY, HEADER_SECRET, ADMIN_TOKEN, WRONG_TOKEN)
CONTENT = (PROMPT, REPLY)
ADMIN_PATHS = ("/", "/health/live", "/metrics", "/spend", "/agents", "/runs", "/requests", "/keys", "/config")
ERRORS = ("400", "401", "429", "500")
IN_STREAM = ("error in stream", "error first")
WAYS = (*ERRORS, *IN_STREAM, "plain", "stream", "html", "torn", "headers", "cut")


def forms(canary: str) -> Iterator[bytes]:
    """Every way a canary can be written down that still gives it away."""
    plain = canary.encode()
    yield from (plain, quote(canary).encode(), quote(canary, safe="").encode())
    for text in (json.dumps(canary)[1:-1], json.dumps(canary, ensure_ascii=False)[1:-1]):
        yield from (text.encode(), text.replace("/", "\\/").encode())
    for start in range(3):  # as base64 depends on what stands before it; the edges are left out
        inner = plain[start : start + (len(plain) - start) // 3 * 3]
        yield from (base64.b64encode(inner), base64.urlsafe_b64encode(inner))
    yield plain.hex().encode()


def found(canaries: tuple[str, ...], data: bytes) -> list[str]:
    return [canary for canary in canaries if any(form in data for form in forms(canary))]


async def echo(peer: Peer) -> None:
    """Answers in the way that the prompt asks for, and says whatever it was told."""
    heard = (peer.head + peer.body).decode("utf-8", "replace")
    way = next(way for way in WAYS if f"[{way}]" in heard)
    error = json.dumps({"error": {"message": heard, "type": "x", "param": PROVIDER_KEY, "code": HEADER_SECRET}})
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    choice = {"index": 0, "message": {"role": "assistant", "content": REPLY}, "finish_reason": "stop"}
    if way in ERRORS:
        await peer.reply(error.encode(), status=f"{way} Bad")
    elif way == "html":
        await peer.reply(f"<html>{heard}</html>".encode(), headers="Content-Type: text/html\r\n")
    elif way == "torn":
        await peer.reply(('{"choices":[' + json.dumps(heard))[:-3].encode())
    elif way in ("plain", "headers"):
        shown = (
            f"x-request-id: {PROVIDER_KEY}\r\nx-ratelimit-reset: {HEADER_SECRET}\r\nSet-Cookie: k={PROVIDER_KEY}\r\n"
        )
        body = json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage, "told": heard})
        await peer.reply(body.encode(), headers=shown if way == "headers" else "")
    else:
        await peer.stream_head()
        if way != "error first":
            await peer.chunk(token(REPLY) + token(heard))
        if way.startswith("error"):
            await peer.chunk(f"data: {error}\n\n".encode())
        elif way == "cut":
            peer.reset()
            raise ConnectionResetError
        else:
            await peer.chunk(FINISH + DONE)
        await peer.end()


class Sinks(Struct):
    """What could be read afterwards, by where it was written."""

    disk: dict[str, bytes]
    admin: dict[str, bytes]
    clients: dict[str, bytes]
    upstream: bytes
    reprs: str
    made_key: str
    log: bytes = b""


def config_file(folder: Path, port: int) -> Path:
    provider = {"kind": "openai", "engine": "vllm", "base_url": f"http://127.0.0.1:{port}/v1"}
    file = folder / "headgate.json"
    file.write_text(
        json.dumps(
            {
                "server": {"port": 0},
                "admin": {"port": 0, "token": ADMIN_TOKEN},
                "data_dir": str(folder / "data"),
                "keys": [{"key": CLIENT_KEY}],
                "providers": {"up": {**provider, "api_key": PROVIDER_KEY, "headers": {"X-Org": HEADER_SECRET}}},
                "models": {"m": "up/real"},
                "pricing": {"overrides": {"up/real": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}}},
                "telemetry": {"log_format": "json"},
            }
        )
    )
    return file


async def ask(
    url: str, path: str, *, method: str = "GET", key: str = "", body: bytes = b"", more: str = ""
) -> Response:
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n{more}"
    if key:
        lines += f"Authorization: Bearer {key}\r\n"
    writer.write(lines.encode() + b"Content-Type: application/json\r\n\r\n" + body)
    response = await read_response(reader)
    writer.close()
    return response


def prompt(way: str, stream: bool) -> bytes:
    said = [{"role": "user", "content": f"[{way}] {PROMPT}"}]
    return json.dumps({"model": "m", "messages": said, "stream": stream, "user": PROMPT}).encode()


async def calls(gate: Gate) -> dict[str, bytes]:
    """Every kind of call and of refusal; what each client was told."""
    told = {}
    chat, url = "/agents/a/runs/r/v1/chat/completions", gate.data_url
    for way in WAYS:
        for stream in (False, True):
            reply = await ask(url, chat, method="POST", key=CLIENT_KEY, body=prompt(way, stream))
            told[f"{way}, stream={stream}"] = repr(reply.headers).encode() + reply.body
    refused = {
        "wrong key": await ask(url, chat, method="POST", key=WRONG_KEY, body=prompt("plain", False)),
        "key in the path": await ask(url, f"/v1/models?key={quote(CLIENT_KEY)}"),
        "other header": await ask(url, chat, method="POST", body=b"{", more=f"x-api-key: {CLIENT_KEY}\r\n"),
        "torn body": await ask(url, chat, method="POST", key=CLIENT_KEY, body=prompt("plain", False)[:-4]),
        "no messages": await ask(url, chat, method="POST", key=CLIENT_KEY, body=b'{"model":"m","messages":7}'),
        "no such model": await ask(url, chat, method="POST", key=CLIENT_KEY, body=b'{"model":"x","messages":[]}'),
        "no such path": await ask(url, "/v1/threads", method="POST", key=CLIENT_KEY, body=prompt("plain", False)),
    }
    return told | {name: repr(reply.headers).encode() + reply.body for name, reply in refused.items()}


async def books(gate: Gate) -> tuple[dict[str, bytes], str]:
    """Every answer of the admin listener, and the one key it made."""
    url = gate.admin_url
    made = await ask(url, "/keys", method="POST", key=ADMIN_TOKEN, body=b'{"agent":"b"}')
    key = str(made.json["key"])
    assert (await ask(gate.data_url, "/v1/models", key=key)).status == 200
    told = {path: (await ask(url, path, key=ADMIN_TOKEN)).body for path in (*ADMIN_PATHS, "/targets")}
    for path, name in (("/requests", "request_id"), ("/runs", "run")):
        for row in json.loads(told[path])["rows"][:50]:
            id = row[name]
            told[f"{path}/{id}"] = (await ask(url, f"{path}/{id}", key=ADMIN_TOKEN)).body
    told["wrong token"] = (await ask(url, "/spend", key=WRONG_TOKEN)).body
    told["reload"] = (await ask(url, "/reload", method="POST", key=ADMIN_TOKEN)).body
    return told, key


async def live(folder: Path) -> Sinks:
    upstream = Upstream(echo)
    await upstream.start()
    file = config_file(folder, upstream.port)
    gate = Gate(load(file, {}), lambda: load(file, {}), SystemClock())
    await gate.start()
    told = await calls(gate)
    admin, key = await books(gate)
    shown = repr(gate) + "".join(repr(value) for value in vars(gate).values())
    shown += repr(gate.assembly.snapshot) + "".join(map(repr, gate.assembly.snapshot.providers.values()))
    await gate.stop()
    await upstream.stop()
    heard = b"".join(head + body for head, body in upstream.requests)
    disk = {file.name: file.read_bytes() for file in (folder / "data").iterdir()}
    return Sinks(disk=disk, admin=admin, clients=told, upstream=heard, reprs=shown, made_key=key)


@contextmanager
def standard_error_in(file: Path) -> Iterator[None]:
    """The descriptor itself: the log writes to it, and so does whoever else complains."""
    kept = os.dup(2)
    with file.open("wb") as opened:
        os.dup2(opened.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@pytest.fixture(scope="module")
def sinks(tmp_path_factory: pytest.TempPathFactory) -> Sinks:
    folder = tmp_path_factory.mktemp("canary")
    log = folder / "log"
    with standard_error_in(log):
        left = asyncio.run(live(folder))
    left.log = log.read_bytes()
    return left


pytestmark = pytest.mark.slow


def test_the_canaries_would_be_found(sinks: Sinks) -> None:
    assert found((PROVIDER_KEY, HEADER_SECRET), sinks.upstream) == [PROVIDER_KEY, HEADER_SECRET]
    assert found(CONTENT, sinks.upstream + sinks.clients["plain, stream=False"]) == list(CONTENT)
    for canary in (*CREDENTIALS, *CONTENT):
        for form in (canary.encode(), base64.b64encode(b"xy" + canary.encode()), json.dumps(canary).encode()):
            assert found((canary,), b"before " + form + b" after") == [canary]
    assert len(sinks.log.splitlines()) > 2 * len(WAYS)
    assert set(sinks.disk) >= {"ledger.db", "keys.json", "pepper"}


def test_the_disk_holds_no_credential_and_no_content(sinks: Sinks) -> None:
    for name, data in sinks.disk.items():
        assert not found((*CREDENTIALS, *CONTENT, sinks.made_key), data), name


def test_the_log_holds_no_credential_and_no_content(sinks: Sinks) -> None:
    lines = [line for line in sinks.log.splitlines() if found((*CREDENTIALS, *CONTENT, sinks.made_key), line)]
    assert not lines


def test_the_admin_listener_shows_no_credential_and_no_content(sinks: Sinks) -> None:
    assert any(path.startswith("/requests/") for path in sinks.admin)
    for path, body in sinks.admin.items():
        assert not found((*CREDENTIALS, *CONTENT, sinks.made_key), body), path


def telling(sinks: Sinks) -> set[str]:
    return {name for name, told in sinks.clients.items() if found((*CREDENTIALS, sinks.made_key), told)}


def test_no_client_is_told_a_credential(sinks: Sinks) -> None:
    assert telling(sinks) == set()


def test_an_error_of_the_gate_does_not_quote_the_request(sinks: Sinks) -> None:
    for name in ("wrong key", "torn body", "no messages", "no such model", "no such path", "other header"):
        assert not found(CONTENT, sinks.clients[name]), name


def test_the_upstream_is_told_its_own_credentials_only(sinks: Sinks) -> None:
    assert not found((CLIENT_KEY, WRONG_KEY, ADMIN_TOKEN, WRONG_TOKEN, sinks.made_key), sinks.upstream)


def test_no_object_shows_a_credential(sinks: Sinks) -> None:
    assert not found((*CREDENTIALS, sinks.made_key), sinks.reprs.encode())


def test_no_object_shows_a_prompt() -> None:
    assert not found(("a plain canary",), repr(call(raw=b"a plain canary")).encode())
