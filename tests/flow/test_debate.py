"""Debates through the whole gate: what each round is asked, when it ends, and what it may cost at most."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from policies.limits import Limit, LimitsByName
from policies.vote import VoteRules
from tests.flow.panel import CHAT, STREAMED, Panel, broken, fails, reply, says
from tests.flow.world import Peer

RULES = VoteRules(rounds=2, cost_ratio_max=100.0)


def debate(*scripts: object, votes: VoteRules = RULES, **more: object) -> Panel:
    return Panel(*scripts, votes=votes, mode="debate", **more)  # type: ignore[arg-type]


def messages(world: Panel, upstream: int, at: int) -> list[dict[str, Any]]:
    found = json.loads(world.upstreams[upstream].requests[at][1])["messages"]
    assert isinstance(found, list)
    return found


async def test_all_who_agree_at_once_need_no_second_round() -> None:
    async with debate(says("42"), says("42."), says("**42**")) as world:
        got = await world.request(CHAT)
        assert (got.status, got.body, world.asked) == (200, reply("**42**"), [1, 1, 1])
        assert got.headers["x-headgate-quorum"] == "agreed 3/3 votes=3 asked=3 rounds=1 first-vote=same"
        assert got.headers["x-headgate-served-by"] == "quorum"
        assert {attempt.role for attempt in world.last.attempts} == {"member"}


async def test_each_is_shown_what_the_others_said_and_answers_again() -> None:
    async with debate(says("40", "42"), says("41", "42"), says("42")) as world:
        got = await world.request(CHAT)
        assert got.body == reply("42")
        assert got.headers["x-headgate-quorum"] == "agreed 3/3 votes=3 asked=6 rounds=2 first-vote=same"
        asked, own, others = messages(world, 0, 1)
        assert asked == {"role": "user", "content": "6 * 7?"}
        assert own == {"role": "assistant", "content": "40"}
        assert others["role"] == "user"
        assert "[1]\n41\n\n[2]\n42\n" in others["content"]
        assert "40" not in others["content"]
        assert world.said[-1] == (
            "debate of 2 rounds: agreed, votes 3; the reply of 'm2' goes out; "
            "a plain vote over the first round gives the same answer, votes 1 to 1 to 1"
        )


async def test_what_a_debate_changes_about_the_plain_vote_is_told() -> None:
    async with debate(says("41", "42"), says("41", "42"), says("42")) as world:
        got = await world.request(CHAT)
        assert got.headers["x-headgate-quorum"] == "agreed 3/3 votes=3 asked=6 rounds=2 first-vote=other"
        assert world.last.voted is not None
        assert world.last.voted.changed is True


async def test_a_stream_gets_the_last_round_alone() -> None:
    async with debate(says("say 41", "now 42"), says("say 42", "now 42")) as world:
        got = await world.stream(STREAMED)
        assert got.complete
        assert (b"now" in got.body, b"say" in got.body) == (True, False)
        assert got.headers["x-headgate-quorum"].startswith("agreed 2/2 votes=2 asked=4 rounds=2")


async def test_the_last_rounds_votes_count_even_where_they_differ() -> None:
    async with debate(says("40", "41"), says("41", "41"), says("42", "40"), votes=RULES) as world:
        got = await world.request(CHAT)
        assert got.body == reply("41")
        assert got.headers["x-headgate-quorum"] == "agreed 2/3 votes=2,1 asked=6 rounds=2 first-vote=other"


async def test_long_answers_are_shown_in_part() -> None:
    long = f"begin {'x' * 20_000} end"
    body = CHAT.replace(b"50", b"5000")
    async with debate(says(long, "1"), says("2", "1")) as world:
        await world.request(body)
        (_, _, others) = messages(world, 1, 1)
        assert "begin" in others["content"]
        assert "end" in others["content"]
        assert len(others["content"]) < 4_600


# --- members that fail -----------------------------------------------------------------------------------------------


async def test_who_fails_is_out_and_the_others_go_on() -> None:
    async with debate(says("40", "42"), broken, says("42")) as world:
        got = await world.request(CHAT)
        assert got.headers["x-headgate-quorum"] == "agreed 2/3 votes=2 asked=5 missing=1 rounds=2 first-vote=same"
        assert world.asked == [2, 1, 2], "and it is not tried again"


async def test_where_all_fail_at_first_the_client_gets_an_error() -> None:
    async with debate(fails, fails) as world:
        assert (await world.request(CHAT)).status == 400


async def test_where_all_fail_later_the_round_before_counts() -> None:
    def once(text: str) -> object:
        async def script(peer: Peer) -> None:
            await (peer.reply(reply(text)) if b"assistant" not in peer.body else fails(peer))

        return script

    async with debate(once("41"), once("42")) as world:
        got = await world.request(CHAT)
        assert (got.status, got.body) == (200, reply("42"))
        assert got.headers["x-headgate-quorum"] == "tie_broken 1/2 votes=1,1 asked=4 rounds=1 first-vote=same"
        assert "nobody answered in round 2: round 1 counts" in world.said


# --- what it takes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "path", "param"),
    [
        (CHAT[:-1] + b',"tools":[{"type":"function","function":{"name":"f"}}]}', "/v1/chat/completions", "tools"),
        (b'{"model":"m","prompt":"x"}', "/v1/completions", "model"),
        (b'{"model":"m","input":"x"}', "/v1/responses", "model"),
    ],
)
async def test_what_cannot_be_debated_is_refused(body: bytes, path: str, param: str) -> None:
    async with debate(says("42"), says("42")) as world:
        got = await world.request(body, path=path)
        assert (got.status, got.error["code"], got.error["param"]) == (400, "invalid_request", param)
        assert world.asked == [0, 0]


async def test_one_that_could_cost_too_much_is_refused() -> None:
    async with debate(says("42"), says("42"), votes=VoteRules(rounds=3, cost_ratio_max=4.0)) as world:
        got = await world.request(CHAT)
        assert (got.status, got.error["code"]) == (403, "debate_too_expensive")
        assert "more than 4 times" in str(got.error["message"])
        assert world.asked == [0, 0]


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (CHAT, 100),
        (CHAT.replace(b"50", b"9000"), 9_000),
        (CHAT.replace(b"50", b"9000").replace(b"6 * 7?", "漢\\u0001\\n".encode() * 900), 9_000),
    ],
    ids=["short", "long", "strange"],
)
@pytest.mark.parametrize("hold", ["estimated", "strict"])
async def test_its_worst_case_is_held_from_the_beginning_and_never_exceeded(
    body: bytes, length: int, hold: Literal["estimated", "strict"]
) -> None:
    held: list[int] = []

    def grows(text: str) -> object:
        async def script(peer: Peer) -> None:
            held.append(world.store.account("key:key-1").held_usd_nanos)
            await peer.reply(reply(text * (length // len(text.encode()))))

        return script

    votes, scripts = VoteRules(rounds=3, cost_ratio_max=999.0), [grows('"\n'), grows("漢"), grows("\x01a")]
    async with debate(*scripts, votes=votes, limits_of=budget(10**15, hold)) as world:
        assert (await world.request(body)).status == 200
        assert len(held) == 9
        assert len(set(held)) == 1, "no attempt had to raise it"
        assert sum(attempt.held_usd_nanos for attempt in world.last.attempts) <= held[0], "had all of it been used"
    most = held[0]
    async with debate(*scripts, votes=votes, limits_of=budget(most - 1, hold)) as world:
        got = await world.request(body)
        assert (got.status, got.error["code"]) == (402, "budget_exceeded")
        assert world.asked == [0, 0, 0]


def budget(usd_nanos: int, hold: Literal["estimated", "strict"] = "estimated") -> LimitsByName:
    kinds = ("team", "key", "agent", "run")
    never = {kind: (Limit("usd", 10**18), Limit("tokens", 10**15)) for kind in kinds}
    return LimitsByName({"key:key-1": (Limit("usd", usd_nanos, hold=hold), Limit("tokens", 10**15))}, never)
