"""`/v1/batches` over sockets: orders, what is wrong with them, whose they are. What becomes of them: `test_keeper`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.batches import tables
from proxy.snapshot import BatchRules
from proxy.types import KeyRecord
from tests.flow.world import Response, World, plain
from tests.proxy.batches.stage import CHAT, Batches, WallClock, line, lines, refusal
from tests.proxy.batches.test_keeper import slow


async def test_a_batch_has_openais_form(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        made = await batches.create(lines(1))
        assert made["object"] == "batch"
        assert (made["status"], made["endpoint"], made["completion_window"]) == ("validating", CHAT, "24h")
        assert made["expires_at"] - made["created_at"] == 86_400
        assert made["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
        for name in ("errors", "output_file_id", "error_file_id", "completed_at", "failed_at", "cancelling_at"):
            assert made[name] is None
        done = await batches.over(made["id"])
        assert done.keys() == made.keys()
        for name in ("in_progress_at", "finalizing_at", "completed_at"):
            assert done[name] >= made["created_at"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"endpoint": "/v1/images/generations"}, (400, "invalid_request", "endpoint")),
        ({"completion_window": "1h"}, (400, "invalid_request", "completion_window")),
        ({"input_file_id": "file-none"}, (404, "not_found", "input_file_id")),
        ({"input_file_id": 7}, (400, "invalid_request", "input_file_id")),
        ({"metadata": {"a": 1}}, (400, "invalid_request", "metadata[...]")),
        ({"output_expires_after": {"seconds": 1}}, (400, "invalid_request", "output_expires_after.seconds")),
    ],
)
async def test_an_order_that_is_wrong_is_refused_by_the_fields_name(
    tmp_path: Path, changes: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        file = (await batches.upload(lines(1))).json["id"]
        order = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **changes}
        assert refusal(await world.request(json.dumps(order).encode(), path="/v1/batches")) == expected


async def test_an_order_that_is_none_is_refused(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        assert refusal(await world.request(b"{", path="/v1/batches"))[:2] == (400, "invalid_json")
        missing = await world.request(b'{"endpoint":"x","completion_window":"24h"}', path="/v1/batches")
        assert refusal(missing) == (400, "invalid_request", "input_file_id")
        assert refusal(await batches.get("/v1/batches/batch_none")) == (404, "not_found", "batch_id")
        assert refusal(await batches.cancel("batch_none")) == (404, "not_found", "batch_id")


@pytest.mark.parametrize(
    ("content", "code", "number", "param"),
    [
        (f"{line('a')}\nnot json\n", "invalid_json_line", 2, None),
        (f"{line('a')}\n{line('b')}\n{line('a')}", "duplicate_custom_id", 3, "custom_id"),
        (line("a", url="/v1/embeddings"), "mismatched_url", 1, "url"),
        ("\n\n", "empty_file", None, None),
        (lines(4), "too_many_requests", 4, None),
    ],
)
async def test_an_input_that_is_wrong_fails_its_batch_and_names_the_line(
    tmp_path: Path, content: str, code: str, number: int | None, param: str | None
) -> None:
    async with World(plain) as world, Batches(world, tmp_path, BatchRules(lines_max=3)) as batches:
        batch = await batches.over((await batches.create(content))["id"])
        assert batch["status"] == "failed"
        assert batch["errors"]["object"] == "list"
        problem = batch["errors"]["data"][0]
        assert (problem["code"], problem["line"], problem["param"]) == (code, number, param)
        assert problem["message"]
        assert world.outcomes == []
        assert batches.ended == ["failed"]


async def test_a_list_has_pages_the_newest_first(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        ids = [(await batches.create(lines(1)))["id"] for _ in range(3)]
        newest = (await batches.get("/v1/batches?limit=2")).json
        assert ([batch["id"] for batch in newest["data"]], newest["has_more"]) == ([ids[2], ids[1]], True)  # type: ignore[attr-defined,index]
        rest = (await batches.get(f"/v1/batches?after={ids[1]}")).json
        assert ([batch["id"] for batch in rest["data"]], rest["has_more"]) == ([ids[0]], False)  # type: ignore[attr-defined,index]
        assert refusal(await batches.get("/v1/batches?limit=101")) == (400, "invalid_request", "limit")


async def test_a_batch_is_its_owners(tmp_path: Path) -> None:
    async with World(slow) as world, Batches(world, tmp_path) as batches:
        world.keys.records["other"] = KeyRecord("key-2")
        made = await batches.create(lines(1))
        assert (await batches.get(f"/v1/batches/{made['id']}", key="other")).status == 404
        assert (await batches.cancel(made["id"], key="other")).status == 404
        assert (await batches.get("/v1/batches", key="other")).json["data"] == []
        order = {"input_file_id": made["input_file_id"], "endpoint": CHAT, "completion_window": "24h"}
        stolen = await world.request(json.dumps(order).encode(), path="/v1/batches", key="other")
        assert refusal(stolen) == (404, "not_found", "input_file_id")
        assert (await batches.over(made["id"]))["status"] == "completed"


async def test_what_a_batch_reads_stays_until_it_has_ended(tmp_path: Path) -> None:
    async with World(slow) as world, Batches(world, tmp_path) as batches:
        made = await batches.create(lines(1))
        path = f"/v1/files/{made['input_file_id']}"
        assert refusal(await world.request(b"", path=path, method="DELETE"))[::2] == (400, "file_id")
        done = await batches.over(made["id"])
        assert (await world.request(b"", path=path, method="DELETE")).status == 200
        assert refusal(await batches.cancel(done["id"]))[::2] == (400, "batch_id")


async def test_an_output_is_no_input(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        done = await batches.over((await batches.create(lines(1)))["id"])
        refused = await batches.order(done["output_file_id"])
        assert refused["error"]["param"] == "input_file_id"
        assert (await batches.get("/v1/files?purpose=batch_output")).json["first_id"] == done["output_file_id"]


async def ordered(batches: Batches, file: str, *headers: str, **fields: Any) -> Response:
    body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **fields}
    more = "".join(f"{header}\r\n" for header in headers)
    return await batches.world.request(json.dumps(body).encode(), path="/v1/batches", headers=more)


async def test_an_order_that_comes_twice_is_one_batch(tmp_path: Path) -> None:
    """Named by its client, or by an SDK that numbers its retries: else all lines would be paid twice."""
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        file = str((await batches.upload(lines(1))).json["id"])
        retry, named = "x-stainless-retry-count: 1", "Idempotency-Key: night"
        first = (await ordered(batches, file, "x-stainless-retry-count: 0")).json["id"]
        assert (await ordered(batches, file, retry)).json["id"] == first
        other = (await ordered(batches, file, retry, metadata={"a": "b"})).json["id"]
        again = (await ordered(batches, file)).json["id"]
        by_name = (await ordered(batches, file, named)).json["id"]
        assert len({first, other, again, by_name}) == 4
        await batches.over(str(by_name))
        assert (await ordered(batches, file, named)).json["id"] == by_name
        assert refusal(await ordered(batches, file, named, metadata={"a": "b"}))[:2] == (422, "idempotency_conflict")
        assert refusal(await ordered(batches, file, "Idempotency-Key: " + "x" * 300))[:2] == (400, "invalid_request")
        for id in (first, other, again):
            await batches.over(str(id))
        assert len(world.outcomes) == 4


async def test_a_name_is_forgotten_with_its_batchs_day_and_a_retry_sooner(tmp_path: Path) -> None:
    async with World(plain, clock=(wall := WallClock())) as world, Batches(world, tmp_path) as batches:
        file = str((await batches.upload(lines(1))).json["id"])
        retry, named = "x-stainless-retry-count: 1", "Idempotency-Key: night"
        by_name, first = [(await ordered(batches, file, header)).json["id"] for header in (named, retry)]
        wall.ahead_s = tables.AGAIN_S + 1.0
        assert (await ordered(batches, file, named)).json["id"] == by_name
        assert (await ordered(batches, file, retry)).json["id"] != first
        wall.ahead_s = 86_402.0
        assert (await ordered(batches, file, named)).json["id"] != by_name
