"""Quorums through the whole gate: whom they ask, whose reply goes out, what it costs, and what can go wrong."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec import structs

from policies.answers import Extraction
from policies.cache_rules import CacheRules
from policies.limits import Limit, LimitsByName
from policies.plan import Planner, Route, Routes
from policies.vote import VoteRules
from proxy.snapshot import AgentRules
from proxy.types import Mode, Outcome
from tests.flow.panel import CHAT, STREAMED, Panel, broken, fails, reply, says
from tests.flow.test_hedge import Slow, warmed
from tests.flow.world import Peer, Response, head

ONE = VoteRules(sizes=(1,))
THREE = VoteRules(sizes=(3,))
FIVE = VoteRules(sizes=(5,))
ALL = VoteRules(sizes=(5,), rule="unanimous")
FIRST_TWO = VoteRules(sizes=(3,), rule=2)
NAMED = "/agents/a/runs/r/v1/chat/completions"


def costs(outcome: Outcome) -> list[int | None]:
    return [attempt.cost_usd_nanos for attempt in outcome.attempts]


async def slow(peer: Peer) -> None:
    await peer.stream_head()
    await asyncio.sleep(60)


# --- whose reply goes out --------------------------------------------------------------------------------------------


async def test_the_answer_of_most_goes_out_as_it_came() -> None:
    async with Panel(says("42"), says("41"), says("The answer is **42**."), votes=THREE) as world:
        got = await world.request(CHAT)
        assert (got.status, got.body) == (200, reply("The answer is **42**.")), "of the strongest who said so"
        assert world.asked == [1, 1, 1]
        assert got.headers["x-headgate-served-by"] == "quorum"
        assert got.headers["x-headgate-target"] == "up2/real"
        assert got.headers["x-headgate-quorum"] == "agreed 2/3 votes=2,1 asked=3"
        assert got.headers["x-headgate-attempts"] == "3"
        assert got.headers["x-headgate-cost-usd"] == "0.002220", "of all of them"
        assert [attempt.role for attempt in world.last.attempts] == ["member"] * 3
        assert world.said == ["vote of 3: agreed, votes 2 to 1; the reply of 'm2' goes out"]


async def test_a_stream_goes_out_as_the_stream_that_one_of_them_sent() -> None:
    async with Panel(says("it is 42"), says("41"), says("answer: 42 now"), says("41 41"), votes=THREE) as world:
        got = await world.stream(STREAMED)
        assert got.complete
        assert got.body.endswith(b"data: [DONE]\n\n")
        assert got.headers["x-headgate-served-by"] == "quorum"
        assert got.headers["x-headgate-quorum"] == "tie_broken 1/3 votes=1,1,1 asked=3"
        assert b"now" in got.body
        assert b"it " not in got.body, "nothing of any other reply"
        assert got.body.count(b'"role":"assistant"') == 1


async def test_who_is_asked_is_asked_once_what_the_client_sent() -> None:
    async with Panel(says("42"), votes=VoteRules(sizes=(2,))) as world:
        await world.request(CHAT)
        bodies = [body for _, body in world.upstreams[0].requests]
        assert bodies == [CHAT.replace(b'"m"', b'"real"')] * 2


async def test_tools_to_be_called_are_an_answer() -> None:
    def calls(arguments: str) -> bytes:
        function = {"name": "add", "arguments": arguments}
        return reply("", tool_calls=[{"id": "t", "type": "function", "function": function}])

    async def first(peer: Peer) -> None:
        await peer.reply(calls('{"a": 1, "b": 2}'))

    async def second(peer: Peer) -> None:
        await peer.reply(calls('{"b":2,"a":1.0}'))

    async with Panel(first, second, says("3"), votes=THREE) as world:
        got = await world.request(CHAT)
        assert got.headers["x-headgate-quorum"] == "agreed 2/3 votes=2 asked=2"
        assert got.body == calls('{"b":2,"a":1.0}')


async def test_the_operators_pattern_says_what_the_answer_is() -> None:
    votes = VoteRules(sizes=(3,), extraction=Extraction("regex", r"ANSWER: (.*)"))
    async with Panel(says("1\nANSWER: 7"), says("2\nANSWER: 7.0"), says("3\nANSWER: 8"), votes=votes) as world:
        got = await world.request(CHAT)
        assert got.headers["x-headgate-quorum"] == "agreed 2/3 votes=2 asked=2"


async def test_nobody_with_an_answer_leaves_the_reply_of_the_strongest() -> None:
    votes = VoteRules(sizes=(3,), extraction=Extraction("regex", r"ANSWER: (.*)"))
    async with Panel(says("one"), says("two"), says("three"), votes=votes) as world:
        got = await world.request(CHAT)
        assert got.body == reply("three")
        assert got.headers["x-headgate-quorum"] == "no_votes 0/3 votes=0 asked=3"


async def test_a_client_that_wants_to_reads_how_the_vote_went() -> None:
    async with Panel(says("42"), says("41"), says("42."), votes=THREE) as world:
        plain = await world.request(CHAT, headers="X-Headgate-Votes: on\r\n")
        told = plain.json["x_headgate"]
        assert told == {
            "votes": {
                "result": "agreed",
                "counts": [2, 1],
                "size": 3,
                "asked": 3,
                "missing": 0,
                "rounds": 0,
                "changed": None,
                "answers": [{"answer": "42", "models": ["m0", "m2"]}, {"answer": "41", "models": ["m1"]}],
            }
        }
        streamed = await world.request(STREAMED, headers="X-Headgate-Votes: on\r\n")
        events = streamed.body.split(b"\n\n")
        assert (b'"x_headgate"' in events[-3], events[-2]) == (True, b"data: [DONE]")


# --- how many are asked ----------------------------------------------------------------------------------------------


async def test_a_vote_that_is_decided_asks_nobody_else() -> None:
    async with Panel(says("42"), votes=FIVE) as world:
        got = await world.request(CHAT)
        assert got.headers["x-headgate-quorum"] == "agreed 3/5 votes=3 asked=3"
        assert world.asked == [3]


async def test_those_without_whom_nothing_is_decided_are_asked_at_once_and_the_others_one_by_one() -> None:
    async with Panel(says("a1"), says("b1"), says("a1"), says("b1"), says("a1"), votes=FIVE) as world:
        began = world.clock.now()
        got = await world.request(CHAT)
        assert got.headers["x-headgate-quorum"] == "agreed 3/5 votes=3,2 asked=5"
        assert 3.0 <= world.clock.now() - began < 3.2
        begun = sorted(attempt.started_at for attempt in world.last.attempts)
        assert [round(at - begun[0], 1) for at in begun] == [0, 0, 0, 1.0, 2.0]


async def test_a_tie_is_taken_on_with_more_of_them() -> None:
    votes = VoteRules(sizes=(2, 4, 6))
    async with Panel(says("a1"), says("b1"), says("c1"), says("b1"), votes=votes) as world:
        got = await world.request(CHAT)
        assert got.headers["x-headgate-quorum"] == "plurality 2/4 votes=2,1,1 asked=4"
        assert world.said[0] == "a tie of 2: up to 4 are asked"
        assert got.body == reply("b1")


async def test_the_last_tie_is_broken_by_the_strongest() -> None:
    async with Panel(says("a1"), says("b1"), votes=VoteRules(sizes=(2,))) as world:
        got = await world.request(CHAT)
        assert (got.body, got.headers["x-headgate-quorum"]) == (reply("b1"), "tie_broken 1/2 votes=1,1 asked=2")


@pytest.mark.parametrize("body", [CHAT, STREAMED], ids=["plain", "stream"])
@pytest.mark.parametrize("abort", ["stops", "unknown"])
async def test_the_first_who_agree_end_it_and_the_others_are_closed_and_billed(body: bytes, abort: str) -> None:
    closed: list[float] = []

    async def late(peer: Peer) -> None:
        if b'"stream":true' in peer.body:
            await peer.stream_head()
            await peer.chunk(b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"so "}}]}\n\n')
        await peer.gone()
        closed.append(asyncio.get_running_loop().time())

    async with Panel(says("42"), late, says("42"), votes=FIRST_TWO, abort=abort) as world:
        got = await world.request(body)
        assert got.headers["x-headgate-quorum"] == "agreed 2/3 votes=2 asked=3"
        assert world.said[-1].endswith("; 1 more could not change it and were given up")
        await asyncio.sleep(1)
        ended = max(each.started_at + each.duration_s for each in world.last.attempts)
        assert closed[0] - ended < 0.1
        (lost,) = [attempt for attempt in world.last.attempts if attempt.target.id == "up1/real"]
        assert lost.usage is not None
        assert lost.cost_usd_nanos
        spent = world.store.account("key:key-1").posted_usd_nanos
        assert spent == sum(cost for cost in costs(world.last) if cost is not None)


async def test_one_who_disagrees_ends_a_vote_that_wanted_all() -> None:
    async with Panel(says("42"), says("42"), says("42"), says("41"), slow, votes=ALL) as world:
        got = await world.request(CHAT)
        assert got.headers["x-headgate-quorum"] == "split 3/5 votes=3,1 asked=5"
        assert world.last.duration_s < 1.1, "the fifth could not make it unanimous, nor change who leads"


async def test_a_loser_whose_provider_bills_on_is_read_to_its_end() -> None:
    late = says("41 " * 20, after_s=0.5)
    async with Panel(says("42"), late, says("42"), votes=FIRST_TWO, abort="continues") as world:
        got = await world.request(STREAMED)
        assert got.complete
        await asyncio.sleep(30)
        (lost,) = [attempt for attempt in world.last.attempts if attempt.target.id == "up1/real"]
        assert lost.usage is not None
        assert lost.usage.source == "reported"


# --- members that fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [fails, broken])
async def test_a_member_that_fails_has_no_vote(script: object) -> None:
    async with Panel(says("42"), script, says("42"), votes=THREE) as world:  # type: ignore[arg-type]
        got = await world.request(CHAT)
        assert (got.status, got.body) == (200, reply("42"))
        assert got.headers["x-headgate-quorum"] == "agreed 2/3 votes=2 asked=3 missing=1"


async def test_where_all_fail_the_client_gets_the_first_ones_error() -> None:
    async with Panel(fails, fails, fails, votes=THREE) as world:
        got = await world.request(CHAT)
        assert got.status == 400
        assert world.last.voted is not None
        assert (world.last.voted.result, world.last.voted.missing) == ("failed", 3)
        assert world.last.error_code == "upstream_rejected"


async def test_a_member_is_tried_again_like_any_call() -> None:
    tries: list[int] = []

    async def once_more(peer: Peer) -> None:
        tries.append(1)
        await (peer.reply(reply("42")) if len(tries) > 1 else broken(peer))

    async with Panel(says("42"), once_more, votes=VoteRules(sizes=(2,))) as world:
        got = await world.request(CHAT)
        assert got.headers["x-headgate-quorum"] == "agreed 2/2 votes=2 asked=2"
        assert sorted(attempt.role for attempt in world.last.attempts) == ["member", "member", "retry"]


async def test_a_stream_that_is_cut_is_no_vote() -> None:
    async def cut(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"41 "}}]}\n\n')
        peer.reset()

    async with Panel(says("42"), cut, says("42"), votes=THREE) as world:
        got = await world.request(STREAMED)
        assert got.headers["x-headgate-quorum"] == "agreed 2/3 votes=2 asked=3 missing=1"
        assert b"41" not in got.body


async def test_a_client_that_leaves_ends_all_of_them() -> None:
    gone: list[int] = []

    async def waits(peer: Peer) -> None:
        await peer.gone()
        gone.append(1)

    async with Panel(waits, waits, waits, votes=VoteRules(sizes=(3,), rule="unanimous")) as world:
        _, writer = await world.connect()
        writer.write(head(CHAT, path="/v1/chat/completions") + CHAT)
        await asyncio.sleep(1)
        writer.transport.abort()
        await asyncio.sleep(1)
        assert gone == [1, 1, 1]
        assert world.last.client_gone
        assert len(world.last.attempts) == 3


async def test_other_endpoints_are_refused() -> None:
    async with Panel(says("42"), votes=THREE) as world:
        got = await world.request(b'{"model":"m","input":"x"}', path="/v1/embeddings")
        assert (got.status, got.error["code"]) == (400, "invalid_request")
        assert world.asked == [0]


# --- money -----------------------------------------------------------------------------------------------------------


def budget(usd_nanos: int) -> LimitsByName:
    kinds = ("team", "key", "agent", "run")
    never = {kind: (Limit("usd", 10**18), Limit("tokens", 10**15)) for kind in kinds}
    return LimitsByName({"key:key-1": (Limit("usd", usd_nanos), Limit("tokens", 10**15))}, never)


async def test_all_members_are_held_before_the_first_is_asked() -> None:
    held: list[int] = []

    async def looks(peer: Peer) -> None:
        held.append(world.store.account("key:key-1").held_usd_nanos)
        await peer.reply(reply("42"))

    async with Panel(looks, votes=FIVE) as world:
        await world.request(CHAT)
        five = held[0]
        world.snapshot = structs.replace(world.snapshot, votes={"m": ONE})
        await world.request(CHAT)
        assert five == 5 * held[-1]
        assert held == [five] * 3 + [held[-1]], "as much all the time"


async def test_who_cannot_be_paid_has_no_vote() -> None:
    async with Panel(says("42"), votes=THREE) as world:
        await world.request(CHAT)
        one = max(attempt.held_usd_nanos for attempt in world.last.attempts)
    for room, asked, quorum in [
        (3 * one, 2, "agreed 2/3 votes=2 asked=2"),
        (2 * one, 2, "agreed 2/3 votes=2 asked=2 missing=1"),
        (one, 1, "plurality 1/3 votes=1 asked=1 missing=2"),
    ]:
        async with Panel(says("42"), votes=THREE, limits_of=budget(room)) as world:
            got = await world.request(CHAT)
            assert (got.status, world.asked) == (200, [asked])
            assert got.headers["x-headgate-quorum"] == quorum


async def test_where_nobody_can_be_paid_the_budget_refuses() -> None:
    async with Panel(says("42"), votes=THREE, limits_of=budget(1)) as world:
        got = await world.request(CHAT)
        assert (got.status, got.error["code"]) == (402, "budget_exceeded")
        assert world.asked == [0]


async def test_a_tie_is_not_taken_on_without_money() -> None:
    async with Panel(says("a1", "b1", "c1"), votes=VoteRules(sizes=(3,))) as world:
        await world.request(CHAT)
        one = max(attempt.held_usd_nanos for attempt in world.last.attempts)
    votes = VoteRules(sizes=(3, 7))
    async with Panel(says("a1", "b1", "c1"), votes=votes, limits_of=budget(4 * one)) as world:
        got = await world.request(CHAT)
        assert got.headers["x-headgate-quorum"] == "tie_broken 1/3 votes=1,1,1 asked=3"
        assert world.said[0] == "a tie, and no money for more than 3 members"
    async with Panel(says("a1", "b1", "c1"), votes=votes, limits_of=budget(5 * one)) as world:
        got = await world.request(CHAT)
        assert got.headers["x-headgate-quorum"] == "agreed 4/7 votes=4,1,1 asked=6", "what was given back is used"


# --- beside other features -------------------------------------------------------------------------------------------


async def test_a_cache_keeps_the_reply_that_went_out_and_no_other() -> None:
    rules = AgentRules(cache=CacheRules(exact="on"))
    async with Panel(says("42"), says("41"), says("42."), votes=THREE, rules=rules) as world:
        first = await world.request(CHAT, path=NAMED)
        again = await world.request(CHAT, path=NAMED)
        assert (first.body, again.body) == (reply("42."), reply("42."))
        assert again.headers["x-headgate-served-by"] == "cache"
        assert "x-headgate-quorum" not in again.headers
        alone = await world.request(CHAT.replace(b'"m"', b'"m1"'), path=NAMED)
        assert alone.body == reply("41"), "its own answer was not kept, nor is it given the panel's"
        assert world.asked == [1, 2, 1]


async def test_who_asks_the_same_meanwhile_joins_the_vote() -> None:
    async with Panel(says("42"), says("41"), says("42."), votes=THREE) as world:
        first, second = await asyncio.gather(
            world.request(CHAT, path=NAMED),
            _later(world, 0.5, CHAT),
        )
        assert (first.body, second.body) == (reply("42."), reply("42."))
        assert second.headers["x-headgate-served-by"] == "join"
        assert world.asked == [1, 1, 1]


async def _later(world: Panel, seconds: float, body: bytes) -> Response:
    await asyncio.sleep(seconds)
    return await world.request(body, path=NAMED, headers="x-stainless-retry-count: 1\r\n")


async def test_a_run_counts_one_step_for_a_vote() -> None:
    async with Panel(says("42"), votes=FIVE, limits_of=steps(1)) as world:
        assert (await world.request(CHAT, path=NAMED)).status == 200
        assert world.asked == [3]
        assert (await world.request(CHAT, path=NAMED)).status != 200


def steps(count: int) -> LimitsByName:
    kinds = ("team", "key", "run")
    wide = (Limit("usd", 10**18), Limit("tokens", 10**15))
    never = dict.fromkeys(kinds, wide)
    return LimitsByName({}, {**never, "agent": (*wide, Limit("steps", count, per="run"))})


async def test_a_member_is_never_sent_twice_at_a_time() -> None:
    """Where the same model alone is: it is late, and has another target."""
    first, second = Slow("first"), Slow("second")
    async with Panel(first, second, rules=AgentRules(first_token_timeout_s=20.0)) as world:
        targets = world.snapshot.planner.routes.fixed_targets
        alone = Route("pool", targets, balance="ordered")
        together = Route("m", mode="quorum", members=(alone,))
        world.snapshot = structs.replace(
            world.snapshot, planner=Planner(Routes((alone, together))), votes={"m": VoteRules(sizes=(2,))}
        )
        pool = STREAMED.replace(b'"m"', b'"pool"')
        await warmed(world, pool)
        first.hanging = 1
        await world.request(pool)
        assert [attempt.role for attempt in world.last.attempts] == ["first", "hedge"]
        first.hanging = 1
        await world.request(STREAMED)
        assert sorted(attempt.role for attempt in world.last.attempts) == ["member", "member", "retry"]
        assert world.last.duration_s > 20


@pytest.mark.parametrize("mode", ["quorum", "debate"])
@pytest.mark.parametrize("after_s", [0.0, 0.2, 1.0, 1.05, 1.4, 2.0, 2.2, 3.1])
async def test_whenever_a_client_leaves_nothing_is_left_behind(mode: Mode, after_s: float) -> None:
    """What must hold is checked when the world ends: nothing held, nothing open, one outcome for each call."""
    async with Panel(says("a1", "b1", after_s=1.0), says("b1 c1", "b1"), says("c1"), votes=FIVE, mode=mode) as world:
        _, writer = await world.connect()
        writer.write(head(STREAMED, path="/v1/chat/completions") + STREAMED)
        await asyncio.sleep(after_s)
        writer.transport.abort()
        await asyncio.sleep(60)
        assert len(world.outcomes) == 1
        spent = world.store.account("key:key-1")
        assert spent.held_usd_nanos == 0
        assert spent.posted_usd_nanos == sum(cost or 0 for cost in costs(world.last))


async def test_near_the_end_of_a_budget_its_members_answer_in_short() -> None:
    async def talks(peer: Peer) -> None:
        limit = peer.json.get("max_tokens", 490)
        assert isinstance(limit, int)
        usage = {"prompt_tokens": 20, "completion_tokens": min(490, limit), "total_tokens": 20 + min(490, limit)}
        choice = {"index": 0, "message": {"role": "assistant", "content": "42"}, "finish_reason": "stop"}
        await peer.reply(msgspec.json.encode({"id": "c", "choices": [choice], "usage": usage}))

    rules, silent = AgentRules(on_budget=("shorter",)), CHAT.replace(b',"max_tokens":50', b"")
    async with Panel(talks, votes=THREE, rules=rules, limits_of=budget(100_000_000)) as world:
        replies = [await world.request(silent) for _ in range(42)]
        assert {reply.status for reply in replies} == {200}
        assert ["x-headgate-degraded" in reply.headers for reply in replies] == [False] * 40 + [True] * 2
        told = [msgspec.json.decode(body).get("max_tokens") for _, body in world.upstreams[0].requests]
        assert (set(told[:60]), set(told[-4:])) == ({None}, {495})
        assert replies[-1].headers["x-headgate-quorum"] == "agreed 2/3 votes=2 asked=2"
