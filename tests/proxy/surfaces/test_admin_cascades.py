from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession

from proxy.execution.given import Feedback, Reset, Word
from proxy.surfaces.admin_cascades import CascadeRoutes
from proxy.surfaces.admin_guard import Guard, Rules
from proxy.tenancy import run_id
from tests.known import CascadeDesk
from tests.proxy.admin import asking

ANSWERS = {"answers": 2, "rungs": 0}


class Runs:
    """Everybody has a run `r`, nobody one that is called `unknown`."""

    async def find(self, name: str, tenant: str | None = None) -> str | None:
        return None if name == "unknown" else run_id(tenant or "key:k", name)


def guarded(desk: CascadeDesk) -> Guard:
    return Guard(Rules(lambda audit: None, None, frozenset(), ()), CascadeRoutes(desk, Runs()).routes())


async def posted(client: ClientSession, path: str, body: object) -> tuple[int, Any]:
    reply = await client.post(path, json=body)
    return reply.status, await reply.json()


async def test_it_tells_what_is_known_of_each_rung() -> None:
    async with asking(guarded(CascadeDesk())) as client:
        reply = await client.get("/cascades")
        first, second = (await reply.json())["rows"]
        assert (first["agent"], first["loss_at_most"], first["accepts_from"]) == ("writer", 0.041, 0.83)
        assert (second["withdrawn"], second["accepts_from"]) == (True, None)
        assert (await client.get("/cascades?agent=a")).status == 400


@pytest.mark.parametrize(
    ("path", "body", "word", "answer"),
    [
        ("/feedback", {"request": "c1", "score": 0}, Feedback(0.0, request="c1"), ANSWERS),
        ("/feedback", {"run": "r", "score": 0.7}, Feedback(0.7, run="key:k/r"), ANSWERS),
        ("/feedback", {"run": "r", "tenant": "team:t", "score": 1}, Feedback(1.0, run="team:t/r"), ANSWERS),
        ("/feedback", {"run": "unknown", "score": 1}, Feedback(1.0), ANSWERS),
        ("/cascades/reset", {"agent": "a"}, Reset("a"), {"answers": 0, "rungs": 1}),
        ("/cascades/reset", {"model": "m", "agent": "a"}, Reset("a", "m"), {"answers": 0, "rungs": 1}),
        ("/cascades/reset", {"all": True}, Reset(), {"answers": 0, "rungs": 1}),
    ],
)
async def test_what_is_said_is_heard(path: str, body: object, word: Word, answer: dict[str, int]) -> None:
    desk = CascadeDesk()
    async with asking(guarded(desk)) as client:
        assert await posted(client, path, body) == (200, answer)
    assert desk.words == [word]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/feedback", {"score": 1}),
        ("/feedback", {"request": "c", "run": "r", "score": 1}),
        ("/feedback", {"request": "c", "score": 1.1}),
        ("/feedback", {"request": "c", "score": -0.1}),
        ("/feedback", {"request": "c"}),
        ("/feedback", {"request": "c", "tenant": "team:t", "score": 1}),
        ("/feedback", {"request": "", "score": 1}),
        ("/feedback", {"request": "c", "score": 1, "why": "so"}),
        ("/cascades/reset", {}),
        ("/cascades/reset", {"all": True, "agent": "a"}),
        ("/cascades/reset", {"key": "a"}),
    ],
)
async def test_what_could_be_meant_otherwise_is_refused(path: str, body: object) -> None:
    desk = CascadeDesk()
    async with asking(guarded(desk)) as client:
        assert (await posted(client, path, body))[0] == 400
    assert desk.words == []
