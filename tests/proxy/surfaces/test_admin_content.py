"""Kept words over the admin listener: behind a token, audited, and forgotten only on a clear word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from msgspec import structs

from proxy.secret import Secret
from proxy.state.content_report import ContentEntry
from proxy.state.report import RequestDetail
from proxy.surfaces.admin import admin_surface
from proxy.surfaces.admin_guard import Audit
from tests.proxy.admin import asking
from tests.proxy.surfaces.test_admin import Gate
from tests.words import WordsDesk, no_words

ENTRY = ContentEntry("one", "", "a", "m", "chat", "full")
DETAIL = RequestDetail({"request_id": "one"}, [], [], [], [], ENTRY)


class Listener:
    def __init__(self, folder: Path, *, guarded: bool = True) -> None:
        self.desk = WordsDesk()
        self.desk.calls["one"] = DETAIL
        self.audits: list[Audit] = []
        self._guarded = guarded
        self._gate = Gate(folder)
        self._gate.token = Secret("token") if guarded else None

    @asynccontextmanager
    async def client(self) -> AsyncIterator[ClientSession]:
        content = structs.replace(no_words(self.desk, guarded=self._guarded), audit=self.audits.append)
        services = structs.replace(self._gate.services(), content=content)
        async with asking(admin_surface(services)) as client:
            client.headers["Authorization"] = "Bearer token"
            yield client

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.client() as client:
            reply = await client.get(path)
            return reply.status, await reply.json()

    async def purge(self, body: object) -> int:
        async with self.client() as client:
            return (await client.post("/content/purge", json=body)).status


async def test_words_are_shown_where_they_are_asked_for_and_that_is_audited(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    status, answer = await listener.get("/requests/one?content=on")
    assert (status, answer["content"]["policy"]) == (200, "full")
    assert [(audit.method, audit.path, audit.status) for audit in listener.audits] == [
        ("GET", "/requests/one?content=on", 200)
    ]


async def test_without_being_asked_for_they_are_not(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    assert (await listener.get("/requests/one"))[0] == 404, "the ledger knows no such call, the desk was not asked"
    assert (await listener.get("/requests/one?content=off"))[0] == 404
    assert listener.audits == []


async def test_a_listener_without_a_token_shows_no_words(tmp_path: Path) -> None:
    listener = Listener(tmp_path, guarded=False)
    status, answer = await listener.get("/requests/one?content=on")
    assert (status, answer["error"]["code"]) == (403, "not_allowed")
    assert "admin.token" in answer["error"]["message"]


async def test_a_call_that_nobody_knows_is_not_found(tmp_path: Path) -> None:
    assert (await Listener(tmp_path).get("/requests/two?content=on"))[0] == 404


async def test_how_much_there_is(tmp_path: Path) -> None:
    answer = {"segments": 2, "bytes": 3 * 1024 * 1024, "oldest": "2026-11-20"}
    assert await Listener(tmp_path).get("/content") == (200, answer)


async def test_a_purge_says_what_is_to_go(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    assert await listener.purge({"all": True}) == 200
    assert await listener.purge({"before": "1d"}) == 200
    assert listener.desk.purges == [None, 1_795_392_000_000 - 86_400_000]


@pytest.mark.parametrize("body", [{}, {"all": False}, {"all": True, "before": "1d"}, {"before": "soon"}, []])
async def test_a_purge_that_could_be_meant_otherwise_takes_nothing(body: object, tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    assert await listener.purge(body) == 400
    assert listener.desk.purges == []


async def test_a_disk_that_does_not_let_go_is_told(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    listener.desk.broken = True
    assert await listener.purge({"all": True}) == 503
