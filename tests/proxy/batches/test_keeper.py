"""A batch over sockets: every line is a call of its own, asked once, whatever happens to the process that asks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from policies.cache_rules import CacheRules
from policies.limits import Limit, LimitsByName
from policies.provider_limits import TargetRules
from policies.rate_limit import Rates
from proxy.execution.line import Claim
from proxy.execution.off_peak import OffPeak
from proxy.snapshot import AgentRules, BatchRules
from proxy.state.ledger import Ledger
from proxy.state.ledger_queries import LedgerReports
from tests.build import call
from tests.flow.test_hours import Deaf
from tests.flow.world import REPLY, Peer, World, plain
from tests.proxy.batches.stage import Batches, WallClock, line, lines


async def slow(peer: Peer) -> None:
    await asyncio.sleep(10)
    await peer.reply(REPLY)


async def test_each_line_is_a_call_of_the_lowest_priority_on_behalf_of_who_made_the_batch(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        made = await batches.create(lines(3), path="/agents/a/runs/r/v1/batches", metadata={"night": "one"})
        assert made["status"] == "validating"
        batch = await batches.over(made["id"])
        assert batch["status"] == "completed"
        assert batch["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
        assert batch["metadata"] == {"night": "one"}
        assert batch["error_file_id"] is None
        entries = await batches.output(batch)
        assert [entry["custom_id"] for entry in entries] == ["n0", "n1", "n2"]
        assert {entry["response"]["status_code"] for entry in entries} == {200}
        assert entries[0]["response"]["body"]["choices"][0]["message"]["content"] == "hello"
        calls = [outcome.call for outcome in world.outcomes]
        assert {(call.identity.agent, call.identity.run, call.priority) for call in calls} == {("a", "r", "batch")}
        assert {entry["response"]["request_id"] for entry in entries} == {call.id for call in calls}
        assert all(outcome.cost_usd_nanos for outcome in world.outcomes)
        assert (batches.answered, batches.ended) == ([True] * 3, ["completed"])


async def test_lines_may_ask_different_models_and_a_line_that_is_refused_is_the_error_files(tmp_path: Path) -> None:
    async with World(plain, also=("other",)) as world, Batches(world, tmp_path) as batches:
        wanted = "\n".join([line("a"), line("b", model="other"), line("c", model="none"), line("d", n="x")])
        batch = await batches.over((await batches.create(wanted))["id"])
        assert batch["request_counts"] == {"total": 4, "completed": 2, "failed": 2}
        unknown, broken = await batches.output(batch, "error_file_id")
        assert (unknown["custom_id"], unknown["response"]["status_code"]) == ("c", 404)
        assert unknown["response"]["body"]["error"]["code"] == "model_not_found"
        assert (broken["custom_id"], broken["response"]["status_code"]) == ("d", 400)
        assert [entry["custom_id"] for entry in await batches.output(batch)] == ["a", "b"]


async def test_a_budget_that_is_spent_is_a_lines_answer(tmp_path: Path) -> None:
    limits = LimitsByName({"agent:a": (Limit("requests", 2, "total"),)})
    async with World(plain, limits_of=limits) as world, Batches(world, tmp_path, BatchRules(concurrency=1)) as batches:
        batch = await batches.over((await batches.create(lines(4), path="/agents/a/v1/batches"))["id"])
        assert batch["request_counts"] == {"total": 4, "completed": 2, "failed": 2}
        refused = await batches.output(batch, "error_file_id")
        assert {entry["response"]["body"]["error"]["code"] for entry in refused} == {"budget_exceeded"}


async def test_a_budget_that_other_lines_hold_is_waited_for(tmp_path: Path) -> None:
    """They take ten seconds each, and give back most of what is held for them: all are paid for in the end."""
    limits = LimitsByName({"agent:a": (Limit("usd", 700_000, "total"),)})
    async with World(slow, limits_of=limits) as world, Batches(world, tmp_path) as batches:
        wanted = "\n".join([line(f"n{number}", max_tokens=64) for number in range(6)])
        batch = await batches.over((await batches.create(wanted, path="/agents/a/v1/batches"))["id"])
        assert batch["request_counts"] == {"total": 6, "completed": 6, "failed": 0}
        assert any(outcome.error_code == "budget_exceeded" for outcome in world.outcomes)


async def test_no_more_lines_are_asked_at_once_than_configured_and_batches_take_turns(tmp_path: Path) -> None:
    running, most, order = 0, 0, []

    async def counting(peer: Peer) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(peer.json["messages"][0]["content"][:1])  # type: ignore[index]
        await asyncio.sleep(1)
        running -= 1
        await peer.reply(REPLY)

    async with World(counting) as world, Batches(world, tmp_path, BatchRules(concurrency=2)) as batches:
        first = await batches.create("\n".join(line(f"a{n}") for n in range(8)))
        second = await batches.create("\n".join(line(f"b{n}") for n in range(8)))
        for batch in (first, second):
            assert (await batches.over(batch["id"]))["status"] == "completed"
        assert most == 2
        assert "b" in order[:6]
        assert "a" in order[-6:]


async def test_a_line_that_has_to_wait_is_asked_later_and_the_whole_batch_with_it(tmp_path: Path) -> None:
    asked: list[float] = []

    async def busy(peer: Peer) -> None:
        now = asyncio.get_running_loop().time()
        asked.append(now)
        if now < asked[0] + 100:
            await peer.reply(b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}', status="429 Too Many")
        else:
            await peer.reply(REPLY)

    rules = AgentRules(hedge=False)
    async with World(busy, rules=rules) as world, Batches(world, tmp_path, BatchRules(concurrency=1)) as batches:
        batch = await batches.over((await batches.create(lines(20)))["id"])
        assert batch["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
        assert len([at for at in asked if at < asked[0] + 100]) < 40  # not twenty lines, each with its own tries


async def test_what_an_upstream_cannot_do_is_tried_a_few_times(tmp_path: Path) -> None:
    async def broken(peer: Peer) -> None:
        await peer.reply(b'{"error":{"message":"no"}}', status="500 Internal Server Error")

    async with World(broken) as world, Batches(world, tmp_path) as batches:
        batch = await batches.over((await batches.create(lines(1)))["id"])
        assert batch["request_counts"] == {"total": 1, "completed": 0, "failed": 1}
        assert len(world.outcomes) == 3
        [entry] = await batches.output(batch, "error_file_id")
        assert entry["response"]["status_code"] == 500


async def test_a_cancelled_batch_stops_within_a_second_and_keeps_what_was_answered(tmp_path: Path) -> None:
    async with World(slow) as world, Batches(world, tmp_path, BatchRules(concurrency=2)) as batches:
        made = await batches.create(lines(6))
        await asyncio.sleep(15)
        cancelled = await batches.cancel(made["id"])
        assert cancelled.json["status"] == "cancelling"
        batch = await batches.over(made["id"], within_s=1)
        assert batch["status"] == "cancelled"
        assert batch["cancelling_at"] is not None
        assert world.pipeline.in_flight == 0
        assert batch["request_counts"] == {"total": 6, "completed": 2, "failed": 4}
        left = await batches.output(batch, "error_file_id")
        assert {entry["error"]["code"] for entry in left} == {"batch_cancelled"}
        assert {entry["custom_id"] for entry in left} == {"n2", "n3", "n4", "n5"}
        assert len(await batches.output(batch)) == 2
        asked = len(world.outcomes)
        await asyncio.sleep(60)
        assert len(world.outcomes) == asked
        assert (await batches.cancel(made["id"])).json["status"] == "cancelled"


async def test_a_line_whose_answer_was_written_as_the_batch_was_cancelled_is_in_one_file(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path, BatchRules(concurrency=1)) as batches:
        ask = batches.archive.ask

        async def unheard(work: Any) -> Any:
            done = await ask(work)
            if "add_line" in repr(work):
                await asyncio.Event().wait()  # until the line is cancelled
            return done

        batches.archive.ask = unheard  # type: ignore[method-assign]
        made = await batches.create(lines(3))
        await asyncio.sleep(5)
        await batches.cancel(made["id"])
        batch = await batches.over(made["id"], within_s=1)
        assert batch["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
        assert [entry["custom_id"] for entry in await batches.output(batch)] == ["n0"]
        left = await batches.output(batch, "error_file_id")
        assert [entry["custom_id"] for entry in left] == ["n1", "n2"]


async def test_an_input_that_is_gone_ends_its_batch(tmp_path: Path) -> None:
    async with World(slow) as world, Batches(world, tmp_path, BatchRules(concurrency=1)) as batches:
        made = await batches.create(lines(3))
        await asyncio.sleep(15)
        await batches.restart()
        assert (await batches.batch(made["id"]))["status"] == "in_progress"
        for path in (tmp_path / "batches").glob("file-*"):
            path.unlink()
        await batches.restart()
        batch = await batches.over(made["id"])
        assert batch["status"] == "expired"
        assert len(await batches.output(batch)) == 1
        other = await batches.upload(lines(1))
        (tmp_path / "batches" / str(other.json["id"])).unlink()
        failed = await batches.over((await batches.order(str(other.json["id"])))["id"])
        assert failed["errors"]["data"][0]["code"] == "input_file_missing"


async def test_a_batch_that_is_over_its_window_expires_with_what_it_has(tmp_path: Path) -> None:
    async def late(peer: Peer) -> None:
        if b"n0" in peer.body:
            await peer.reply(REPLY)
        else:
            await peer.reply(b'{"error":{"message":"slow down"}}', status="429 Too Many Requests")

    wall = WallClock()
    async with World(late, clock=wall) as world, Batches(world, tmp_path) as batches:
        made = await batches.create(lines(3))
        await asyncio.sleep(15)
        assert (await batches.batch(made["id"]))["status"] == "in_progress"
        wall.ahead_s = 86_401.0
        batch = await batches.over(made["id"], within_s=120)
        assert batch["status"] == "expired"
        assert batch["expired_at"] - batch["created_at"] == pytest.approx(86_400, abs=60)
        left = await batches.output(batch, "error_file_id")
        assert [entry["error"]["code"] for entry in left] == ["batch_expired"] * 2
        assert [entry["custom_id"] for entry in await batches.output(batch)] == ["n0"]


# --- once ------------------------------------------------------------------------------------------------------------


async def test_lines_that_are_done_are_never_asked_again(tmp_path: Path) -> None:
    async def steady(peer: Peer) -> None:
        await asyncio.sleep(10)
        await peer.reply(REPLY)

    async with World(steady) as world, Batches(world, tmp_path, BatchRules(concurrency=1)) as batches:
        made = await batches.create(lines(4))
        await asyncio.sleep(25)  # two are done, one is asked
        await batches.restart()
        batch = await batches.over(made["id"])
        assert batch["request_counts"] == {"total": 4, "completed": 4, "failed": 0}
        bodies = [body for _, body in world.upstreams[0].requests]
        assert len(bodies) == 5  # the one that was asked when the process died is asked again
        assert len(world.outcomes) == 5  # ... and the others not even of the journal
        assert len(await batches.output(batch)) == 4


async def test_an_answer_that_was_had_and_not_written_down_is_not_bought_again(tmp_path: Path) -> None:
    """The process dies between the journal and the line's row."""
    off = AgentRules(cache=CacheRules(replay="off"))  # a batch needs the journal all the same
    async with World(plain, rules=off) as world, Batches(world, tmp_path) as batches:
        made = await batches.create(lines(2))
        ask = batches.archive.ask

        async def forgetful(work: Any) -> Any:
            if "add_line" in repr(work):
                await asyncio.Event().wait()  # until the process dies
            return await ask(work)

        batches.archive.ask = forgetful  # type: ignore[method-assign]
        await asyncio.sleep(30)
        assert len(world.upstreams[0].requests) == 2
        assert (await batches.batch(made["id"]))["request_counts"]["completed"] == 0
        batches.archive.ask = ask  # type: ignore[method-assign]
        await batches.restart()
        batch = await batches.over(made["id"])
        assert batch["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
        assert len(world.upstreams[0].requests) == 2
        assert [outcome.served_by for outcome in world.outcomes[2:]] == ["cache", "cache"]
        assert sum(outcome.cost_usd_nanos or 0 for outcome in world.outcomes[2:]) == 0


async def test_only_one_of_several_processes_runs_batches_and_another_takes_over(tmp_path: Path) -> None:
    async with World(slow) as world, Batches(world, tmp_path, BatchRules(concurrency=1)) as batches:
        made = await batches.create(lines(3))
        await asyncio.sleep(5)
        other = batches._new_keeper()
        other.start()
        await asyncio.sleep(10)
        assert (other.running, batches.keeper.running) == (0, 1)
        batches.keeper.stop()
        await batches.keeper.close()
        batch = await batches.over(made["id"])
        assert batch["status"] == "completed"
        assert len(await batches.output(batch)) == 3
        await other.close()


async def test_a_stop_lets_lines_end_and_begins_none(tmp_path: Path) -> None:
    async with World(slow) as world, Batches(world, tmp_path, BatchRules(concurrency=2)) as batches:
        made = await batches.create(lines(6))
        await asyncio.sleep(5)
        batches.keeper.stop()
        await world.pipeline.drain(60)
        await batches.keeper.close()
        assert len(world.upstreams[0].requests) == 2
        assert (await batches.batch(made["id"]))["request_counts"]["completed"] == 2


async def test_a_key_that_is_taken_back_pays_for_nothing_more(tmp_path: Path) -> None:
    async with World(slow) as world, Batches(world, tmp_path, BatchRules(concurrency=1)) as batches:
        made = await batches.create(lines(3))
        await asyncio.sleep(5)
        records, world.keys.records = world.keys.records, {}
        await asyncio.sleep(30)
        world.keys.records = records
        batch = await batches.over(made["id"])
        assert batch["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
        refused = await batches.output(batch, "error_file_id")
        assert {entry["response"]["body"]["error"]["code"] for entry in refused} == {"invalid_api_key"}
        assert len(world.outcomes) == 1


async def test_a_disk_that_is_full_holds_lines_back(tmp_path: Path) -> None:
    rules = BatchRules(files=1_200, concurrency=1)
    async with World(slow) as world, Batches(world, tmp_path, rules) as batches:
        made = await batches.create(lines(6))
        await asyncio.sleep(600)
        assert (await batches.batch(made["id"]))["status"] == "in_progress"
        assert len(batches.reported) == 1
        world.snapshot = structs.replace(world.snapshot, batches=structs.replace(rules, files=100_000))
        assert (await batches.over(made["id"]))["status"] == "completed"


async def test_nothing_is_kept_longer_than_configured(tmp_path: Path) -> None:
    rules = BatchRules(kept_s=7_200)
    async with World(plain, clock=(wall := WallClock())) as world, Batches(world, tmp_path, rules) as batches:
        made = await batches.over((await batches.create(lines(1)))["id"])
        wall.ahead_s = 3 * 3_600.0
        assert (await batches.get(f"/v1/files/{made['output_file_id']}")).status == 404
        batches.keeper._sweep_at = 0.0
        await asyncio.sleep(2)
        assert (await batches.get(f"/v1/batches/{made['id']}")).status == 404
        left = {path.name for path in (tmp_path / "batches").iterdir()}
        assert {name for name in left if name.startswith("file-")} == set()


async def test_a_line_that_was_being_read_when_the_gate_stops_is_not_asked(tmp_path: Path) -> None:
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        piece, read = batches.archive.piece, asyncio.Event()

        async def slow_piece(id: str, start: int, size: int) -> bytes:
            found = await piece(id, start, size)
            if size < 1_000:  # a line
                await read.wait()
            return found

        batches.archive.piece = slow_piece  # type: ignore[method-assign]
        made = await batches.create(lines(2))
        await asyncio.sleep(5)
        batches.keeper.stop()
        read.set()
        await batches.keeper.close()
        assert world.outcomes == []
        assert (await batches.batch(made["id"]))["status"] == "in_progress"


async def test_a_stream_is_refused_however_it_got_into_the_file(tmp_path: Path) -> None:
    """A lone surrogate is legal in JSON, and hides a body from the strict reader that checks the file."""
    hidden = line("a", surrogate="x", stream=True).replace('"surrogate"', '"\\ud800"')
    async with World(plain) as world, Batches(world, tmp_path) as batches:
        batch = await batches.over((await batches.create(hidden))["id"])
        [error] = await batches.output(batch, "error_file_id")
        assert (error["response"]["status_code"], error["response"]["body"]["error"]["param"]) == (400, "stream")
        assert world.upstreams[0].requests == []


async def test_lines_are_not_held_for_a_quiet_time_for_they_would_keep_the_places_of_others(tmp_path: Path) -> None:
    rules = AgentRules(window_s=86_400.0, deadline_s=3_600.0)
    busy = TargetRules(targets={"up0/real": Rates(concurrency=2)})
    async with World(plain, rules=rules, target_rates=busy) as world, Batches(world, tmp_path) as batches:
        world.admission.off_peak = off_peak = OffPeak(
            world.clock, world.permits, rates=world.rates, p99_s=world.admission.p99_s, heard=Deaf()
        )
        (target,) = world.snapshot.planner.routes.fixed_targets
        others = world.permits.at_once(target, Claim(call()))
        batch = await batches.over((await batches.create(lines(3)))["id"], within_s=60)
        assert batch["request_counts"]["completed"] == 3
        assert {outcome.call.deadline - outcome.call.arrived_at for outcome in world.outcomes} == {3_600.0}
        assert off_peak.waiting == 0
        assert others is not None
        others.release(None)


async def test_a_line_says_of_which_batch_it_is_and_that_its_batch_was_cancelled(tmp_path: Path) -> None:
    async with World(slow) as world, Batches(world, tmp_path, BatchRules(concurrency=1)) as batches:
        made = await batches.create(lines(2))
        await asyncio.sleep(15)
        await batches.cancel(made["id"])
        await batches.over(made["id"], within_s=1)
        ledger = Ledger.open(tmp_path / "ledger.db")
        for outcome in world.outcomes:
            ledger.append(outcome)
        details = [await LedgerReports(ledger).request(outcome.call.id) for outcome in world.outcomes]
        answered, cancelled = [detail.decision for detail in details if detail is not None]
    assert answered[1] == f"after 0.000 s: line 'n0' of {made['id']}"
    assert cancelled[1] == f"after 0.000 s: line 'n1' of {made['id']}"
    assert any(words.endswith("given up: its batch was cancelled or is over") for words in cancelled)
    assert any(words.startswith("ended 499 without an answer in ") for words in cancelled)
    assert not any("the client left" in words for words in cancelled)


async def test_a_line_is_done_once_its_call_is_on_the_disk(tmp_path: Path) -> None:
    written = asyncio.Event()

    async def on_disk() -> None:
        await written.wait()

    async with World(plain) as world, Batches(world, tmp_path) as batches:
        world.on_disk = on_disk
        made = await batches.create(lines(1))
        await asyncio.sleep(10)
        assert len(world.outcomes) == 1
        assert (await batches.batch(made["id"]))["request_counts"]["completed"] == 0
        written.set()
        [entry] = await batches.output(await batches.over(made["id"]))
        assert entry["response"]["request_id"] == world.outcomes[0].call.id
