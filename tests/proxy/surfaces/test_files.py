"""`/v1/files` over sockets: what is uploaded is there, for its owner alone, in OpenAI's forms."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from proxy.snapshot import BatchRules
from proxy.types import KeyRecord
from tests.flow.world import KEY, World, plain
from tests.proxy.batches.stage import FORM_TYPE, Batches, WallClock, form, line, refusal


async def test_a_file_comes_back_as_it_went(tmp_path: Path) -> None:
    content = b'{"a":1}\r\n\xff\x00--not-the-boundary\n' * 30_000  # more than one piece
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        made = (await batches.upload(content)).json
        assert made["object"] == "file"
        assert (made["bytes"], made["filename"], made["purpose"]) == (len(content), "in.jsonl", "batch")
        assert made["status"] == "processed"
        assert (await batches.get(f"/v1/files/{made['id']}")).json == made
        assert (await batches.get(f"/files/{made['id']}")).json == made  # with and without /v1
        back = await batches.get(f"/v1/files/{made['id']}/content")
        assert back.body == content
        assert back.complete


async def test_files_are_the_gates_users_alone(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        await batches.upload(line())
        modes = {
            stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "batches").iterdir() if "db-" not in path.name
        }
        assert modes == {0o600}
        assert stat.S_IMODE((tmp_path / "batches").stat().st_mode) == 0o700


async def test_a_list_has_pages(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        ids = [(await batches.upload(line(), name=f"{n}.jsonl")).json["id"] for n in range(3)]
        newest = (await batches.get("/v1/files?limit=2")).json
        assert newest["object"] == "list"
        assert [file["id"] for file in newest["data"]] == [ids[2], ids[1]]  # type: ignore[attr-defined,index]
        assert (newest["first_id"], newest["last_id"], newest["has_more"]) == (ids[2], ids[1], True)
        rest = (await batches.get(f"/v1/files?limit=2&after={ids[1]}")).json
        assert ([file["id"] for file in rest["data"]], rest["has_more"]) == ([ids[0]], False)  # type: ignore[attr-defined,index]
        oldest = (await batches.get("/v1/files?order=asc&limit=1&purpose=batch")).json
        assert oldest["last_id"] == ids[0]
        assert (await batches.get("/v1/files?purpose=batch_output")).json["data"] == []


@pytest.mark.parametrize(("query", "param"), [("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order")])
async def test_a_list_of_nonsense_is_refused_by_name(tmp_path: Path, query: str, param: str) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        assert refusal(await batches.get(f"/v1/files?{query}")) == (400, "invalid_request", param)


async def test_what_is_deleted_is_gone(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        id = str((await batches.upload(line())).json["id"])
        gone = await world.request(b"", path=f"/v1/files/{id}", method="DELETE")
        assert gone.json == {"id": id, "object": "file", "deleted": True}
        for path in (f"/v1/files/{id}", f"/v1/files/{id}/content"):
            assert refusal(await batches.get(path)) == (404, "not_found", "file_id")
        assert not (tmp_path / "batches" / id).exists()


async def test_a_file_is_its_owners(tmp_path: Path) -> None:
    """A team's keys share what they have; nobody else sees that it is there."""
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        world.keys.records |= {
            "other": KeyRecord("key-2"),
            "one": KeyRecord("key-3", team="t"),
            "two": KeyRecord("key-4", team="t"),
        }
        mine, ours = (await batches.upload(line())).json["id"], (await batches.upload(line(), key="one")).json["id"]
        assert (await batches.get(f"/v1/files/{ours}", key="two")).status == 200
        for id, stranger in ((mine, "other"), (mine, "one"), (ours, "other")):
            assert (await batches.get(f"/v1/files/{id}", key=stranger)).status == 404
            assert (await batches.get(f"/v1/files/{id}/content", key=stranger)).status == 404
            removed = await world.request(b"", path=f"/v1/files/{id}", method="DELETE", key=stranger)
            assert removed.status == 404
        assert (await batches.get("/v1/files", key="other")).json["data"] == []
        assert refusal(await batches.get("/v1/files", key="stranger")) == (401, "invalid_api_key", None)


async def test_a_name_is_no_way_to_another_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        await batches.upload(line(), name="../../secret")
        for id in ("..%2Fsecret", "batches.db", "..%2F..%2Fetc%2Fpasswd"):
            assert (await batches.get(f"/v1/files/{id}/content")).status == 404


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "fine-tune"}, "purpose"),
        ({"purpose": ""}, "purpose"),
        ({"expires_after[seconds]": "soon"}, "expires_after[seconds]"),
        ({"expires_after[seconds]": "60"}, "expires_after.seconds"),
        ({"expires_after[seconds]": "3600", "expires_after[anchor]": "now"}, "expires_after.anchor"),
    ],
)
async def test_a_form_that_is_wrong_is_refused_by_the_fields_name(
    tmp_path: Path, fields: dict[str, str], param: str
) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        assert refusal(await batches.upload(line(), **fields)) == (400, "invalid_request", param)


async def test_a_form_needs_a_file(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path):
        body = form(b"x", purpose="batch").replace(b'name="file"', b'name="data"')
        assert refusal(await world.request(body, path="/v1/files", headers=FORM_TYPE)) == (
            400,
            "invalid_request",
            "file",
        )
        assert (await world.request(b"{}", path="/v1/files")).status == 400


async def test_a_file_goes_when_its_owner_has_said(tmp_path: Path) -> None:
    async with World(plain, clock=(wall := WallClock())) as world, Batches(world, tmp_path) as batches:
        file = (await batches.upload(line(), **{"expires_after[seconds]": "3600"})).json
        assert int(file["expires_at"]) - int(file["created_at"]) == 3_600  # type: ignore[call-overload]
        wall.ahead_s = 3_601.0
        assert (await batches.get(f"/v1/files/{file['id']}")).status == 404


async def test_no_more_is_taken_than_there_is_room_for(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path, BatchRules(file=100, files=150)) as batches:
        assert refusal(await batches.upload("x" * 101)) == (413, "request_too_large", "file")
        assert (await world.request(b"x" * 200_000, path="/v1/files", headers=FORM_TYPE)).status == 413
        assert (await batches.upload("x" * 100)).status == 200
        assert refusal(await batches.upload("x" * 51)) == (413, "request_too_large", "file")
        assert len([path for path in (tmp_path / "batches").iterdir() if path.name.startswith("file-")]) == 1


async def test_only_what_there_is_can_be_asked_for(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        wrong = await world.request(b"", path="/v1/files", method="PATCH")
        assert (refusal(wrong)[:2], wrong.headers["allow"]) == ((405, "method_not_allowed"), "GET, POST, HEAD, OPTIONS")
        options = await world.request(b"", path="/v1/batches/b/cancel", method="OPTIONS", key=None)
        assert (options.status, options.headers["allow"]) == (204, "POST, OPTIONS")
        id = (await batches.upload(line())).json["id"]
        for path in ("/v1/files", f"/v1/files/{id}", f"/v1/files/{id}/content"):
            assert (await world.request(b"", path=path, method="HEAD")).status == 200
        assert refusal(await batches.get("/v1/files/a/b/c"))[:2] == (404, "unknown_path")
    async with World(plain) as world, Batches(world, tmp_path, BatchRules(concurrency=0)) as batches:
        assert refusal(await batches.get("/v1/files"))[:2] == (404, "unknown_path")
        assert refusal(await batches.get("/v1/batches"))[:2] == (404, "unknown_path")


async def test_a_disk_that_fails_is_said(tmp_path: Path) -> None:
    (tmp_path / "batches").write_text("in the way")
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        assert refusal(await batches.upload(line()))[:2] == (503, "storage_unavailable")
        failed = await batches.get("/v1/batches")
        assert refusal(failed)[:2] == (503, "storage_unavailable")
        assert (failed.headers["retry-after"], failed.headers["x-should-retry"]) == ("5", "true")


async def test_uploads_are_not_taken_beyond_what_memory_has_for_them(tmp_path: Path) -> None:
    """One that has begun keeps its place however slow it is; its owner's next one is told to wait, and then taken."""
    async with World(plain) as world, Batches(world, tmp_path, BatchRules(file=100_000)) as batches:
        world.keys.records["other"] = KeyRecord("key-2")
        body = form(b"x" * 90_000, purpose="batch")
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        head = f"POST /v1/files HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\n{FORM_TYPE}"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:1_000])
        await asyncio.sleep(0.1)
        refused = await batches.upload("x" * 90_000)
        assert refusal(refused)[:2] == (429, "rate_limit_exceeded")
        assert (refused.headers["retry-after"], refused.headers["x-should-retry"]) == ("2", "true")
        assert (await batches.upload("x" * 90_000, key="other")).status == 200
        assert (await batches.upload("x" * 1_000)).status == 200
        writer.write(body[1_000:])
        assert b"200 OK" in await reader.readline()
        assert (await batches.upload("x" * 90_000)).status == 200
        writer.close()
