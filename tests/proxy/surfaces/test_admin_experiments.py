"""What an operator asks of experiments."""

from __future__ import annotations

from proxy.surfaces.admin_experiments import ExperimentRoutes
from proxy.surfaces.admin_guard import Guard, Rules
from tests.known import ExperimentDesk
from tests.proxy.admin import asking


def guarded(desk: ExperimentDesk) -> Guard:
    return Guard(Rules(lambda audit: None, None, frozenset(), ()), ExperimentRoutes(desk).routes())


async def test_all_of_them_or_one() -> None:
    async with asking(guarded(ExperimentDesk())) as client:
        (row,) = (await (await client.get("/experiments")).json())["rows"]
        assert row["design"]["name"] == "smart-test"
        assert row["rows"][0]["verdict"] == "lower"
        assert await (await client.get("/experiments/smart-test")).json() == row
        assert (await client.get("/experiments/other")).status == 404
        assert (await client.get("/experiments?agent=a")).status == 400


async def test_one_can_begin_anew_and_nothing_else_is_understood() -> None:
    desk = ExperimentDesk()
    async with asking(guarded(desk)) as client:
        reply = await client.post("/experiments/a%2Fb/reset", json={})
        assert (reply.status, await reply.json()) == (200, {"experiment": "a/b"})
        assert (await client.post("/experiments/a/reset", json={"since": 3})).status == 400
        assert (await client.post("/experiments/a/reset", data=b"{}")).status == 415
    assert desk.reset_ones == ["a/b"]
