from __future__ import annotations

from proxy.surfaces.admin_batches import BatchRoutes
from proxy.surfaces.admin_guard import Guard, Rules
from tests.known import BatchDesk
from tests.proxy.admin import asking


async def test_an_operator_sees_batches_and_ends_one() -> None:
    desk = BatchDesk()
    guard = Guard(Rules(lambda audit: None, None, frozenset(), ()), BatchRoutes(desk).routes())
    async with asking(guard) as client:
        rows = await (await client.get("/batches?limit=5&before=batch_9")).json()
        assert (rows["rows"][0]["agent"], rows["more"]) == ("nightly", False)
        assert desk.asked == [(5, "batch_9")]
        assert (await (await client.get("/batches/batch_1")).json())["status"] == "failed"
        assert (await client.post("/batches/batch_1/cancel", json={})).status == 200
        assert desk.cancelled == ["batch_1"]
        assert (await client.get("/batches?limit=0")).status == 400
        assert (await client.get("/batches?agent=a")).status == 400
