"""The exact cache over sockets: the same request again costs nothing, and nobody gets an answer that is not his."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from policies.cache_rules import CacheRules
from policies.limits import Limit, LimitsByName
from policies.retry import Retry
from proxy.snapshot import AgentRules
from proxy.types import KeyRecord
from tests.flow.world import (
    DONE,
    FINISH,
    KEY,
    REPLY,
    ROLE,
    USAGE,
    Peer,
    Response,
    World,
    head,
    plain,
    read_response,
    streaming,
    token,
)

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0}'
STREAM = BODY[:-1] + b',"stream":true}'
CACHED = AgentRules(cache=CacheRules(exact="on"), retry=Retry(attempts=1))
PATH = "/agents/a/v1/chat/completions"


def asked(world: World) -> int:
    return sum(len(upstream.requests) for upstream in world.upstreams)


async def ask(world: World, body: bytes = BODY, headers: str = "", path: str = PATH, key: str = KEY) -> Response:
    return await world.request(body, path=path, headers=headers, key=key)


def said(reply: Response) -> str:
    return reply.headers["x-headgate-cache"]


async def test_the_same_request_again_costs_nothing_and_says_so() -> None:
    async with World(plain, rules=CACHED) as world:
        first = await ask(world)
        await asyncio.sleep(7)
        again = await ask(world)
        assert asked(world) == 1
        assert again.body == first.body
        assert (said(first), said(again)) == ("miss", "hit")
        assert again.headers["x-headgate-served-by"] == "cache"
        assert again.headers["x-headgate-cost-usd"] == "0.000000"
        assert int(again.headers["x-headgate-cache-age"]) <= 7
        assert again.headers["x-headgate-target"] == first.headers["x-headgate-target"]
        outcome = world.outcomes[1]
        assert outcome.attempts == ()
        assert outcome.cost_usd_nanos == 0
        assert outcome.reused is not None
        assert outcome.reused.saved_usd_nanos == world.outcomes[0].cost_usd_nanos
        assert outcome.reused.saved_tokens > 0


async def test_a_stream_is_kept_and_given_again_as_a_stream() -> None:
    async with World(streaming, rules=CACHED) as world:
        first, again = await ask(world, STREAM), await ask(world, STREAM)
        assert (said(first), said(again)) == ("miss", "hit")
        assert again.body == first.body
        assert again.body.endswith(DONE)
        assert again.complete
        assert again.headers["content-type"].startswith("text/event-stream")
        assert world.outcomes[1].reused is not None
        assert world.outcomes[1].reused.saved_usd_nanos == world.outcomes[0].cost_usd_nanos
        await ask(world, BODY)
    assert asked(world) == 2, "a whole reply is another answer than a stream"


@pytest.mark.parametrize(
    ("body", "path", "key"),
    [
        (BODY.replace(b"hi", b"ho"), PATH, KEY),
        (BODY.replace(b'"temperature":0', b'"temperature":0,"seed":1'), PATH, KEY),
        (BODY.replace(b'"temperature":0', b'"temperature":0.0'), PATH, KEY),
        (BODY.replace(b'"user"', b'"system"'), PATH, KEY),
        (BODY, PATH.replace("/a/", "/b/"), KEY),
        (BODY, PATH, "hg-another-key"),
        (BODY.replace(b'"messages"', b'"prompt":"p","messages"'), PATH.replace("chat/", ""), KEY),
    ],
    ids=["other text", "other field", "other number", "other role", "other agent", "other tenant", "other endpoint"],
)
async def test_nothing_else_is_answered_by_it(body: bytes, path: str, key: str) -> None:
    async with World(plain, rules=CACHED) as world:
        world.keys.records["hg-another-key"] = KeyRecord("key-2")
        await ask(world)
        assert said(await ask(world, body, path=path, key=key)) == "miss"
    assert asked(world) == 2


@pytest.mark.parametrize(
    "body",
    [
        b'{"temperature":0,"messages":[{"role":"user","content":"hi"}],"model":"m"}',
        b'{ "model": "m",\n "messages": [ {"role": "user", "content": "hi"} ], "temperature": 0 }',
        BODY[:-1] + b',"cache":{"ttl":60}}',
    ],
    ids=["other order", "other spaces", "a word for the gate"],
)
async def test_the_form_of_the_same_question_does_not_matter(body: bytes) -> None:
    async with World(plain, rules=CACHED) as world:
        await ask(world)
        assert said(await ask(world, body)) == "hit"


async def test_keys_of_one_team_share_if_their_agents_may() -> None:
    async with World(plain, rules=AgentRules(cache=CacheRules(exact="on", scope="team"))) as world:
        for name, team in (("hg-1", "red"), ("hg-2", "red"), ("hg-3", "blue")):
            world.keys.records[name] = KeyRecord(name, team=team)
        await ask(world, key="hg-1")
        assert said(await ask(world, key="hg-2", path=PATH.replace("/a/", "/b/"))) == "hit"
        assert said(await ask(world, key="hg-3")) == "miss"


async def test_what_the_gate_is_told_of_caches_goes_no_further() -> None:
    async with World(plain, rules=CACHED) as world:
        await ask(
            world, BODY[:-1] + b',"cache":{"no-cache":true}}', "Idempotency-Key: k\r\nCache-Control: no-store\r\n"
        )
        sent_head, sent = world.upstreams[0].requests[0]
    assert b"no-cache" not in sent
    assert b"cache" not in sent_head.lower()
    assert b"idempotency" not in sent_head.lower()


@pytest.mark.parametrize("header", ["Cache-Control: {}\r\n", "X-Headgate-Cache: {}\r\n"])
async def test_the_caller_has_the_last_word(header: str) -> None:
    async with World(plain, rules=CACHED) as world:
        assert said(await ask(world, headers=header.format("no-store"))) == "miss"
        assert (await ask(world, headers=header.format("only-if-cached"))).status == 504
        assert said(await ask(world)) == "miss"
        assert said(await ask(world, headers=header.format("no-cache"))) == "miss"
        await asyncio.sleep(30)
        assert said(await ask(world, headers=header.format("only-if-cached"))) == "hit"
        assert asked(world) == 3


async def test_an_answer_has_its_time() -> None:
    rules = AgentRules(cache=CacheRules(exact="on", ttl_s=3_600))
    async with World(plain, rules=rules) as world:
        world.clock = world.caches._clock = Moved(world)
        await ask(world)
        world.clock.by = 3_000
        assert said(await ask(world)) == "hit"
        assert said(await ask(world, headers="Cache-Control: max-age=60\r\n")) == "miss"
        world.clock.by = 6_000
        assert said(await ask(world)) == "hit", "the newer one"
        world.clock.by = 6_700
        assert said(await ask(world)) == "miss"


class Moved:
    """The clock of a world, its wall time moved by so many seconds."""

    def __init__(self, world: World) -> None:
        self.inner = world.clock
        self.by = 0.0
        self.now, self.id, self.rng = self.inner.now, self.inner.id, self.inner.rng

    def wall(self) -> float:
        return self.inner.wall() + self.by


async def test_a_stale_answer_is_served_while_one_call_fetches_a_new_one() -> None:
    rules = AgentRules(cache=CacheRules(exact="on", ttl_s=100, stale_s=1_000))
    async with World(slow, rules=rules) as world:
        world.clock = world.caches._clock = Moved(world)
        await ask(world)
        world.clock.by = 500
        started = asyncio.get_running_loop().time()
        stale = await asyncio.gather(*[ask(world) for _ in range(50)])
        assert asyncio.get_running_loop().time() - started < 1, "nobody waits for it"
        assert {said(reply) for reply in stale} == {"hit"}
        await asyncio.sleep(10)
        assert asked(world) == 2
        fresh = await ask(world)
        assert int(fresh.headers["x-headgate-cache-age"]) < 20
        renewal = next(outcome for outcome in world.outcomes[1:] if outcome.attempts)
        assert renewal.call.identity.agent == "a", "it is its agent's call, and its agent pays"
        world.clock.by = 5_000
        assert said(await ask(world)) == "miss", "too old for that, too"


async def test_a_refresh_is_of_no_run_and_takes_none_of_its_steps() -> None:
    rules = AgentRules(cache=CacheRules(exact="on", ttl_s=100, stale_s=1_000))
    limits = LimitsByName({}, {"agent": (Limit("steps", 2, per="run"),)})
    async with World(slow, rules=rules, limits_of=limits) as world:
        world.clock = world.caches._clock = Moved(world)
        in_run = "X-Headgate-Run: trip\r\n"
        await ask(world, headers=in_run)
        world.clock.by = 500
        assert said(await ask(world, headers=in_run)) == "hit"
        await asyncio.sleep(10)
        assert asked(world) == 2, "a new answer was fetched"
        stale, renewal = world.outcomes[1:]
        assert (renewal.call.identity.run, renewal.call.cause) == (None, stale.call.id)
        assert renewal.call.identity.key_id == stale.call.identity.key_id, "the tenant pays"
        assert renewal.call.priority == "batch"
        other = BODY.replace(b'"hi"', b'"and then?"')
        assert (await ask(world, other, headers=in_run)).status == 200, "its last step is still there"
        assert (await ask(world, other.replace(b"then", b"now"), headers=in_run)).status == 402


async def slow(peer: Peer) -> None:
    await asyncio.sleep(5)
    await peer.reply(REPLY)


async def failing(peer: Peer) -> None:
    await asyncio.sleep(1)
    await peer.reply(b'{"error":{"message":"broken"}}', status="500 Internal Server Error")


async def without_end(peer: Peer) -> None:
    await peer.reply(REPLY.replace(b'"finish_reason":"stop"', b'"finish_reason":null'))


async def cut(peer: Peer) -> None:
    await peer.stream_head()
    await peer.chunk(ROLE + token("a"))
    await asyncio.sleep(1)
    peer.reset()


@pytest.mark.parametrize(
    ("script", "body"), [(failing, BODY), (without_end, BODY), (cut, STREAM)], ids=["error", "no finish reason", "cut"]
)
async def test_what_is_not_a_whole_answer_is_not_kept(script: object, body: bytes) -> None:
    async with World(script, rules=CACHED) as world:  # type: ignore[arg-type]
        await ask(world, body)
        await ask(world, body)
        assert asked(world) == 2
        assert (await world.caches.stock()).entries == 0


async def test_only_calls_without_chance_are_deterministic() -> None:
    rules = AgentRules(cache=CacheRules(exact="deterministic"))
    async with World(plain, rules=rules) as world:
        for body, second in (
            (BODY, "hit"),
            (BODY.replace(b'"temperature":0', b'"temperature":0.7'), "off"),
            (BODY.replace(b',"temperature":0', b""), "off"),
            (BODY.replace(b'"temperature":0', b'"temperature":0.00'), "hit"),
            (BODY[:-1] + b',"tools":[{"type":"web_search"}]}', "off"),
        ):
            await ask(world, body)
            assert said(await ask(world, body)) == second, body
        why = [decision.said for outcome in world.outcomes for decision in outcome.decisions]
        assert "not looked for in the exact cache: its temperature is not 0" in why
        assert "not looked for in the exact cache: the provider runs its tool `web_search`" in why


async def test_who_may_not_use_the_model_does_not_get_its_answers() -> None:
    async with World(plain, rules=CACHED) as world:
        await ask(world)
        world.change_rules(models=frozenset({"other"}))
        assert (await ask(world)).status == 403


async def test_a_hit_needs_no_money() -> None:
    limits = LimitsByName({"agent:a": (Limit("requests", 1, "total"),)})
    async with World(plain, rules=CACHED, limits_of=limits) as world:
        await ask(world)
        assert said(await ask(world)) == "hit"
        assert (await ask(world, BODY.replace(b"hi", b"ho"))).status == 402


async def test_answers_outlive_the_process(tmp_path: Path) -> None:
    async with World(streaming, rules=CACHED, caches_at=tmp_path / "caches.db") as world:
        first = await ask(world, STREAM)
    async with World(streaming, rules=CACHED, caches_at=tmp_path / "caches.db") as world:
        again = await ask(world, STREAM)
        assert said(again) == "hit"
        assert again.body == first.body
        assert asked(world) == 0
    assert (tmp_path / "caches.db").stat().st_mode & 0o077 == 0


async def test_another_configuration_of_the_model_is_another_model() -> None:
    async with World(plain, rules=CACHED) as world:
        await ask(world)
        world.snapshot = type(world.snapshot)(
            **{name: getattr(world.snapshot, name) for name in world.snapshot.__struct_fields__} | {"revision": "new"}
        )
        assert said(await ask(world)) == "miss"


# --- many at once ----------------------------------------------------------------------------------------------------


async def test_a_thousand_at_once_are_one_call() -> None:
    async with World(slow, rules=CACHED) as world:
        replies = await asyncio.gather(*[ask(world) for _ in range(1_000)])
        assert asked(world) == 1
        assert {reply.status for reply in replies} == {200}
        assert sum(said(reply) == "miss" for reply in replies) == 1
        assert sum(outcome.cost_usd_nanos or 0 for outcome in world.outcomes) == max(
            outcome.cost_usd_nanos or 0 for outcome in world.outcomes
        )


async def test_runs_of_an_agent_share_the_call() -> None:
    async with World(slow, rules=CACHED) as world:
        paths = [PATH.replace("/v1", f"/runs/{run}/v1") for run in range(5)]
        await asyncio.gather(*[ask(world, path=path) for path in paths])
    assert asked(world) == 1


async def test_a_failed_leader_is_followed_by_one_of_those_who_waited() -> None:
    calls = 0

    async def first_fails(peer: Peer) -> None:
        nonlocal calls
        calls += 1
        await (failing if calls == 1 else slow)(peer)

    async with World(first_fails, rules=CACHED) as world:
        replies = await asyncio.gather(*[ask(world) for _ in range(20)])
        assert sorted({reply.status for reply in replies}) == [200, 500]
        assert sum(reply.status == 500 for reply in replies) == 1, "the one whose call it was"
    assert calls == 2


async def test_an_upstream_that_stays_broken_is_not_asked_by_each_of_them() -> None:
    async with World(failing, rules=CACHED) as world:
        replies = await asyncio.gather(*[ask(world) for _ in range(20)])
        assert {reply.status for reply in replies} == {500}
    assert asked(world) == 2


async def test_each_keeps_its_own_deadline() -> None:
    async with World(slow, rules=CACHED) as world:
        patient = asyncio.ensure_future(ask(world))  # noqa: TID251
        await asyncio.sleep(0.5)
        hasty = await ask(world, headers="X-Headgate-Deadline: 1\r\n")
        assert (hasty.status, hasty.error["code"]) == (504, "deadline_exceeded")
        assert (await patient).status == 200
    assert asked(world) == 1


async def test_a_leader_who_is_out_of_time_leaves_the_others_theirs() -> None:
    async with World(slow, rules=CACHED) as world:
        hasty = asyncio.ensure_future(ask(world, headers="X-Headgate-Deadline: 1\r\n"))  # noqa: TID251
        await asyncio.sleep(0.5)
        assert (await ask(world)).status == 200
        assert (await hasty).status == 504


async def test_a_leader_who_leaves_does_not_take_the_answer_along() -> None:
    async with World(slow, rules=CACHED) as world:
        _, writer = await world.connect()
        writer.write(head(BODY, path=PATH) + BODY)
        await asyncio.sleep(1)
        reader, other = await world.connect()
        other.write(head(BODY, path=PATH) + BODY)
        await asyncio.sleep(1)
        writer.close()
        assert (await read_response(reader)).body == REPLY
        assert said(await ask(world)) == "hit"
    assert asked(world) == 1


async def test_a_stream_is_joined_from_its_first_token() -> None:
    async def slowly(peer: Peer) -> None:
        await peer.stream_head()
        for number in range(10):
            await peer.chunk((ROLE if number == 0 else b"") + token(f"w{number}"))
            await asyncio.sleep(1)
        await peer.chunk(FINISH + USAGE + DONE)
        await peer.end()

    async with World(slowly, rules=CACHED) as world:
        first = asyncio.ensure_future(ask(world, STREAM))  # noqa: TID251
        await asyncio.sleep(5)
        second = await ask(world, STREAM)
        assert second.body == (await first).body
        assert said(second) == "join"
    assert asked(world) == 1


async def test_what_was_known_is_not_handed_to_those_who_wait_and_want_it_otherwise() -> None:
    """The call in flight is answered out of the journal; who waits by the same question looks for itself."""
    rules = AgentRules(cache=CacheRules(exact="on", ttl_s=1))
    async with World(slow, rules=rules) as world:
        world.clock = world.caches._clock = Moved(world)  # type: ignore[assignment]
        named = "Idempotency-Key: k\r\n"
        await ask(world, headers=named)
        world.clock.by = 100.0
        replayed, fresh = await asyncio.gather(
            ask(world, headers=named), ask(world, headers="Cache-Control: max-age=1\r\n")
        )
        assert (said(replayed), said(fresh)) == ("replay", "miss")
    assert asked(world) == 2


async def test_two_names_for_one_question_are_both_known_afterwards() -> None:
    async with World(slow, rules=CACHED) as world:
        names = ["Idempotency-Key: one\r\n", "Idempotency-Key: two\r\n"]
        await asyncio.gather(*[ask(world, headers=name) for name in names])
        assert [said(await ask(world, headers=name)) for name in names] == ["replay", "replay"]
        other = BODY.replace(b"hi", b"ho")
        assert [(await ask(world, other, name)).status for name in names] == [422, 422]


async def test_two_lines_of_one_header_are_one_list() -> None:
    async with World(plain, rules=CACHED) as world:
        await ask(world, headers="Cache-Control: max-age=5\r\nCache-Control: no-store\r\n")
        assert said(await ask(world)) == "miss"
        twice = await ask(world, headers="Idempotency-Key: a\r\nIdempotency-Key: b\r\n")
        assert twice.status == 400


async def test_a_stream_of_which_one_choice_is_missing_is_not_kept() -> None:
    async with World(streaming, rules=CACHED) as world:
        two = STREAM[:-1] + b',"n":2}'
        await ask(world, two)
        assert said(await ask(world, two)) == "miss"


async def test_calls_of_one_agent_share_what_its_budget_has_shortened() -> None:
    limits = LimitsByName({"agent:a": (Limit("usd", 2_000_000, "total"),)})
    async with World(slow, rules=CACHED, limits_of=limits) as world:
        replies = await asyncio.gather(*[ask(world) for _ in range(20)])
        assert {reply.status for reply in replies} == {200}
    assert asked(world) == 1
