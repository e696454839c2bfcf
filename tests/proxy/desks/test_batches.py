"""Batches as an operator sees them: of every owner, from another process than the one that runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from proxy.assembly import Assembly
from proxy.desks.batches import BatchDesk
from proxy.errors import ProxyError
from proxy.snapshot import BatchRules
from proxy.types import KeyRecord
from tests.flow.world import World
from tests.proxy.batches.stage import Batches, lines
from tests.proxy.batches.test_keeper import slow
from tests.proxy.desks.test_admin import desk_in


def assembly_in(folder: Path) -> Assembly:
    return desk_in(folder)[1]


async def test_an_operator_sees_batches_of_all_and_ends_any(tmp_path: Path) -> None:
    desk = BatchDesk(assembly_in(tmp_path))
    async with World(slow) as world, Batches(world, tmp_path, BatchRules(concurrency=1)) as batches:
        world.keys.records["other"] = KeyRecord("key-2")
        first = await batches.create(lines(3), path="/agents/a/v1/batches")
        second = (await batches.create("not JSON"))["id"]
        assert (await batches.over(second))["status"] == "failed"
        report = await desk.report(1, None)
        assert ([row.id for row in report.rows], report.more) == ([second], True)
        assert report.rows[0].errors[0].startswith("line 1: ")
        [row] = (await desk.report(1, second)).rows
        assert (row.agent, row.key_id, row.total) == ("a", "key-1", 3)
        assert (await desk.cancel(row.id)).status == "cancelling"
        assert (await batches.over(first["id"], within_s=1))["status"] == "cancelled"
        assert (await desk.one(row.id)).status == "cancelled"
        with pytest.raises(ProxyError, match="is failed cannot"):
            await desk.cancel(second)


async def test_a_gate_that_never_had_batches_has_none(tmp_path: Path) -> None:
    desk = BatchDesk(assembly_in(tmp_path))
    assert structs.astuple(await desk.report(10, None)) == ((), False)
    for asked in (desk.one, desk.cancel):
        with pytest.raises(ProxyError) as refused:
            await asked("batch_1")
        assert refused.value.code == "not_found"
    assert not (tmp_path / "batches").exists()
