"""A cascade on the way of real requests: who answers, what of it the client sees, and what all of it costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from policies.accept_rules import Agree, CascadeRules, GateName, Judge, Verify
from policies.cache_rules import CacheRules
from policies.limits import Limit, LimitsByName
from proxy.runs.registry import RunCommand
from tests.flow.rungs import Rungs
from tests.flow.test_cut import Talker
from tests.flow.world import DONE, FINISH, REPLY, ROLE, USAGE, Peer, Script, head, plain, streaming, token

CHEAP, DEAR = 10 * 1_000 + 5 * 2_000, 10 * (10 * 1_000 + 5 * 2_000)  # of USAGE at each rung
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "2+2?"}]}
STREAM = json.dumps(CHAT | {"stream": True}).encode()
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}
USED = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def body(**fields: Any) -> bytes:
    return json.dumps(CHAT | fields).encode()


def saying(text: str | None = "four", *, finish: str = "stop", **message: Any) -> Script:
    async def script(peer: Peer) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": text} | message, "finish_reason": finish}
        await peer.reply(json.dumps({"id": "c", "choices": [choice], "usage": USED}).encode())

    return script


def calling(name: str, arguments: str) -> Script:
    calls = [{"id": "t1", "type": "function", "function": {"name": name, "arguments": arguments}}]
    return saying(None, finish="tool_calls", tool_calls=calls)


def streamed(*events: bytes, wait_s: float = 0.0) -> Script:
    async def script(peer: Peer) -> None:
        await peer.stream_head()
        for event in events:
            await peer.chunk(event)
            await asyncio.sleep(wait_s)
        await peer.end()

    return script


async def refusing(peer: Peer) -> None:
    await peer.reply(b'{"error":{"message":"no","type":"server_error"}}', status="500 Internal Server Error")


async def never(peer: Peer) -> None:
    raise AssertionError("nobody was to be asked here")


EMPTY = streamed(ROLE, token(" "), FINISH, USAGE, DONE)
STRICT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


async def test_a_good_cheap_answer_is_the_answer() -> None:
    async with Rungs(plain, never) as world:
        reply = await world.request(body())
        assert (reply.status, reply.body) == (200, REPLY)
        assert reply.headers["x-headgate-served-by"] == "cascade"
        assert reply.headers["x-headgate-cascade"] == "m0 accept passed"
        assert reply.headers["x-headgate-target"] == "up0/real"
    (outcome,) = world.outcomes
    assert outcome.cost_usd_nanos == CHEAP
    assert [attempt.role for attempt in outcome.attempts] == ["first"]
    assert "was accepted" in outcome.decisions[-1].said
    (seen,) = world.seen.accepted_ones
    assert (seen.rung, seen.said[0].text, seen.mark) == (0, "hello", 1.0)


@pytest.mark.parametrize(
    ("gate", "cheap", "fields"),
    [
        ("finished", saying("fo", finish="length"), {}),
        ("not_refused", saying("I'm sorry, but I can't help with that."), {}),
        ("not_refused", saying(None, refusal="No."), {}),
        ("not_empty", saying(" \n"), {}),
        ("valid_json", saying("{"), {"response_format": {"type": "json_object"}}),
        ("valid_schema", saying('{"n":"four"}'), {"response_format": STRICT}),
        ("valid_tools", calling("add", '{"n":"x"}'), {"tools": [TOOL]}),
        ("valid_tools", calling("sub", '{"n":1}'), {"tools": [TOOL]}),
        ("valid_tools", saying("four"), {"tools": [TOOL], "tool_choice": "required"}),
    ],
)
async def test_each_gate_sends_the_call_one_rung_up(gate: GateName, cheap: Script, fields: dict[str, Any]) -> None:
    async with Rungs(cheap, plain) as world:
        reply = await world.request(body(**fields))
        assert reply.body == REPLY
        assert reply.headers["x-headgate-cascade"] == f"m0 escalate {gate}, m1 accept last"
        assert reply.headers["x-headgate-target"] == "up1/real"
        assert reply.headers["x-headgate-cost-usd"] == "0.000220"
    (outcome,) = world.outcomes
    assert outcome.cost_usd_nanos == CHEAP + DEAR
    assert [attempt.role for attempt in outcome.attempts] == ["first", "escalation"]
    assert any("was not accepted" in decision.said for decision in outcome.decisions)
    assert world.seen.accepted_ones == []


@pytest.mark.parametrize(
    ("cheap", "fields"),
    [
        (saying('{"n":4}'), {"response_format": STRICT}),
        (calling("add", '{"n":4}'), {"tools": [TOOL]}),
        (calling("add", '{"n":4}'), {"tools": [TOOL], "tool_choice": "required", "response_format": STRICT}),
    ],
)
async def test_what_fits_its_form_is_accepted(cheap: Script, fields: dict[str, Any]) -> None:
    async with Rungs(cheap, never) as world:
        reply = await world.request(body(**fields))
        assert reply.headers["x-headgate-cascade"] == "m0 accept passed"


async def test_a_pattern_of_the_operator_is_a_gate() -> None:
    rules = CascadeRules(accept=("regex",), pattern=r"ANSWER: \d+")
    async with Rungs(saying("four"), saying("ANSWER: 4"), never, cascade=rules) as world:
        reply = await world.request(body())
        assert reply.headers["x-headgate-cascade"] == "m0 escalate regex, m1 accept passed"


async def test_the_same_tool_error_twice_begins_one_rung_up() -> None:
    made = {"id": "t", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    pair = [
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "t", "content": "Error: n is missing"},
    ]
    rules = CascadeRules(accept=("repeated_tool_error",))
    async with Rungs(plain, plain, never, cascade=rules) as world:
        once = await world.request(body(messages=pair))
        assert once.headers["x-headgate-cascade"] == "m0 accept passed"
        twice = await world.request(body(messages=[*pair, *pair]))
        assert twice.headers["x-headgate-cascade"] == "m0 escalate repeated_tool_error, m1 accept passed"
        assert len(world.upstreams[0].requests) == 1


async def test_the_client_gets_the_stream_of_one_model_alone() -> None:
    async with Rungs(EMPTY, streaming) as world:
        reply = await world.stream(STREAM)
        assert reply.complete
        assert reply.body == ROLE + token("hel") + token("lo") + FINISH + DONE
        assert reply.headers["x-headgate-cascade"] == "m0 escalate not_empty, m1 accept last"
    (outcome,) = world.outcomes
    assert outcome.cost_usd_nanos == CHEAP + DEAR


async def test_a_cheap_stream_goes_out_when_it_is_accepted_as_it_came() -> None:
    async with Rungs(streaming, never) as world:
        reply = await world.stream(STREAM)
        assert reply.complete
        assert reply.body == ROLE + token("hel") + token("lo") + FINISH + DONE
        assert reply.headers["x-headgate-cost-usd"] == "0.000020"  # it was settled before it was judged
    assert world.outcomes[0].cost_usd_nanos == CHEAP


async def test_a_stream_without_its_end_marker_is_whole_too() -> None:
    async with Rungs(streamed(ROLE, token("four"), FINISH), never) as world:
        reply = await world.stream(STREAM)
        assert reply.complete
        assert reply.body == ROLE + token("four") + FINISH


async def test_nothing_goes_out_before_the_verdict_and_the_last_rung_streams_at_once() -> None:
    slow = streamed(ROLE, token(" "), FINISH, USAGE, DONE, wait_s=1.0)
    late = streamed(ROLE, token("a"), token("b"), FINISH, USAGE, DONE, wait_s=2.0)
    async with Rungs(slow, late) as world:
        loop = asyncio.get_running_loop()
        began = loop.time()
        reader, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        await reader.readuntil(b"\r\n\r\n")
        assert 6.5 < loop.time() - began < 8.0  # five seconds of the first, two until the second's first content
        await reader.readuntil(b"[DONE]")
        assert loop.time() - began > 14.0


async def test_held_tokens_are_judged_and_the_rest_streams() -> None:
    rules = CascadeRules(hold=2)
    long = [token(f"word{at} ") for at in range(20)]
    async with Rungs(streamed(ROLE, *long, FINISH, USAGE, DONE, wait_s=1.0), never, cascade=rules) as world:
        loop = asyncio.get_running_loop()
        began = loop.time()
        reader, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        await reader.readuntil(b"\r\n\r\n")
        assert loop.time() - began < 6.0
        await reader.readuntil(b"[DONE]")
        assert loop.time() - began > 20.0
    assert world.outcomes[0].cost_usd_nanos == CHEAP


async def test_a_held_beginning_that_is_a_refusal_is_given_up() -> None:
    refusal = [token("I'm sorry, "), token("but I can't "), *[token("do it ") for _ in range(50)]]
    async with Rungs(
        streamed(ROLE, *refusal, FINISH, USAGE, DONE, wait_s=1.0), streaming, cascade=CascadeRules(hold=8)
    ) as world:
        reply = await world.stream(STREAM)
        assert b"sorry" not in reply.body
        assert reply.headers["x-headgate-cascade"] == "m0 escalate not_refused, m1 accept last"
    first, _ = world.outcomes[0].attempts
    assert (first.lesson, first.usage is not None) == ("ignore", True)  # what it had made is paid
    assert first.duration_s < 20


async def test_a_rung_that_fails_is_one_that_was_not_good_enough() -> None:
    async with Rungs(refusing, plain) as world:
        reply = await world.request(body())
        assert reply.body == REPLY
        assert reply.headers["x-headgate-cascade"] == "m0 error upstream_error, m1 accept last"
    assert world.outcomes[0].cost_usd_nanos == DEAR


async def test_a_rung_that_breaks_off_while_it_is_held_leaves_no_trace() -> None:
    async def breaking(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("half an ans"))
        peer.reset()

    async with Rungs(breaking, streaming) as world:
        reply = await world.stream(STREAM)
        assert reply.complete
        assert b"half" not in reply.body
        assert reply.headers["x-headgate-cascade"] == "m0 error upstream_broken, m1 accept last"


async def test_where_all_rungs_fail_the_last_error_is_the_answer() -> None:
    async with Rungs(refusing, refusing) as world:
        reply = await world.request(body())
        assert reply.status == 500
    assert world.outcomes[0].error_code == "upstream_error"


async def test_where_the_last_rung_fails_the_answer_before_goes_out_marked() -> None:
    async with Rungs(saying(" "), refusing) as world:
        reply = await world.request(body())
        assert reply.status == 200
        assert reply.headers["x-headgate-cascade"] == "m0 escalate not_empty, m1 error upstream_error; unverified"
        assert reply.headers["x-headgate-target"] == "up0/real"
    async with Rungs(saying(" "), refusing, cascade=CascadeRules(on_no_money="error")) as world:
        assert (await world.request(body())).status == 500


@pytest.mark.parametrize("stream", [False, True])
async def test_without_money_to_escalate_the_best_answer_goes_out_marked(stream: bool) -> None:
    limits = LimitsByName({"key:key-1": (Limit("usd", 600_000, hold="strict"),)})
    cheap, tokens = EMPTY if stream else saying(" "), {"max_tokens": 20, "stream": stream}
    async with Rungs(cheap, never, limits_of=limits) as world:
        reply = await world.request(body(**tokens))
        assert reply.status == 200
        assert reply.complete
        assert reply.headers["x-headgate-cascade"] == "m0 escalate not_empty, m1 error budget_exceeded; unverified"
        assert any("unverified" in decision.said for decision in world.outcomes[0].decisions)
    assert world.outcomes[0].cost_usd_nanos == CHEAP
    async with Rungs(cheap, never, limits_of=limits, cascade=CascadeRules(on_no_money="error")) as world:
        reply = await world.request(body(**tokens))
        assert reply.error["code"] == "budget_exceeded"
    assert world.outcomes[0].cost_usd_nanos == CHEAP


async def test_a_held_stream_ends_where_its_money_does() -> None:
    limits = LimitsByName({"key:key-1": (Limit("usd", 6_000_000, soft=True),)})
    talker = Talker(obeys=False, each=1)
    async with Rungs(talker, talker, limits_of=limits) as world:
        reply = await world.stream(json.dumps(CHAT | {"stream": True, "max_tokens": 4_000}).encode())
        assert reply.complete
        assert reply.body.count(DONE) == 1
        assert b'"cut":"budget"' in reply.body
        assert reply.headers["x-headgate-cascade"] == "m0 escalate finished, m1 error budget_exceeded; unverified"
        await asyncio.sleep(1.0)
        assert talker.made[0] < 3_800  # it was closed, where a call of that model alone is cut


async def test_nothing_is_asked_that_cannot_end_in_time() -> None:
    async def slow(peer: Peer) -> None:
        await asyncio.sleep(20)
        await saying(" ")(peer)

    async with Rungs(slow, slow) as world:
        await asyncio.gather(*[world.request(body(model="m1")) for _ in range(20)])  # it is learnt how long that takes
        asked = len(world.upstreams[1].requests)
        reply = await world.request(body(), headers="X-Headgate-Deadline: 25\r\n")
        assert reply.status == 200
        assert reply.headers["x-headgate-cascade"].endswith("m1 error deadline_exceeded; unverified")
        assert len(world.upstreams[1].requests) == asked
        world.change_rules(cache=CacheRules(exact="on"))
        for _ in range(2):  # nor is such an answer given to anybody else
            again = await world.request(body(), headers="X-Headgate-Deadline: 25\r\n")
            assert again.headers["x-headgate-cache"] == "miss"
            assert again.headers["x-headgate-cascade"].endswith("unverified")


async def test_a_first_step_that_takes_too_long_is_passed_over() -> None:
    async def slow(peer: Peer) -> None:
        await asyncio.sleep(20)
        await plain(peer)

    async with Rungs(slow, plain) as world:
        await asyncio.gather(*[world.request(body(model="m0")) for _ in range(20)])  # it is learnt how long that takes
        reply = await world.request(body(), headers="X-Headgate-Deadline: 10\r\n")
        assert reply.headers["x-headgate-cascade"] == "m0 error deadline_exceeded, m1 accept last"


async def test_where_the_deadline_passes_on_the_way_up_the_answer_before_goes_out_if_it_can_be_whole() -> None:
    async def hanging(peer: Peer) -> None:
        await peer.gone()

    async with Rungs(saying(" "), hanging) as world:
        reply = await world.request(body(), headers="X-Headgate-Deadline: 5\r\n")
        assert reply.headers["x-headgate-cascade"] == "m0 escalate not_empty, m1 error deadline_exceeded; unverified"
    async with Rungs(EMPTY, hanging) as world:
        reply = await world.stream(STREAM, headers="X-Headgate-Deadline: 5\r\n")
        assert reply.error["code"] == "deadline_exceeded"


async def test_a_client_that_leaves_in_the_middle_of_a_rung_stops_it_and_pays_what_was_made() -> None:
    gone = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("a"))
        await peer.gone()
        gone.set()

    async with Rungs(EMPTY, slow, never) as world:
        _, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        await asyncio.sleep(1.0)
        writer.close()
        await asyncio.wait_for(gone.wait(), 1.0)
        await asyncio.sleep(0.1)
    (outcome,) = world.outcomes
    assert outcome.client_gone
    assert [attempt.role for attempt in outcome.attempts] == ["first", "escalation"]
    assert (outcome.cost_usd_nanos or 0) > CHEAP


async def test_a_run_that_is_killed_ends_in_the_middle_of_a_rung() -> None:
    async def hanging(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE + token("a"))
        await peer.gone()

    async with Rungs(EMPTY, hanging, never) as world:
        asked = asyncio.create_task(world.request(STREAM, headers="X-Headgate-Run: r1\r\n"))  # noqa: TID251
        await asyncio.sleep(1.0)
        await world.runs.apply(RunCommand("kill", "key:key-1/r1", "1", "me", 0.0))
        reply = await asked
        assert reply.error["code"] == "run_killed"
    assert world.store.account("run:key:key-1/r1").held_usd_nanos == 0


async def test_only_the_committed_answer_is_kept() -> None:
    async with Rungs(saying(" "), plain) as world:
        world.change_rules(cache=CacheRules(exact="on"))
        first = await world.request(body())
        again = await world.request(body())
        assert first.body == again.body == REPLY
        assert again.headers["x-headgate-cache"] == "hit"
        assert [len(upstream.requests) for upstream in world.upstreams] == [1, 1]


async def test_an_unverified_answer_is_not_kept() -> None:
    async with Rungs(saying(" "), refusing) as world:
        world.change_rules(cache=CacheRules(exact="on"))
        await world.request(body())
        await world.request(body())
        assert len(world.upstreams[0].requests) == 2


# --- second looks ----------------------------------------------------------------------------------------------------


def in_turn(*scripts: Script) -> Script:
    left = list(scripts)

    async def script(peer: Peer) -> None:
        await left.pop(0)(peer)

    return script


@pytest.mark.parametrize(("second", "verdict"), [("The answer is 4", "accept passed"), ("5", "escalate agree")])
async def test_a_second_sample_has_to_agree(second: str, verdict: str) -> None:
    rules = CascadeRules(agree=Agree())
    async with Rungs(in_turn(saying("answer: 4.0"), saying(second)), plain, cascade=rules) as world:
        reply = await world.request(body())
        assert reply.headers["x-headgate-cascade"].startswith(f"m0 {verdict}")
    outcome = world.outcomes[0]
    assert [attempt.role for attempt in outcome.attempts][:2] == ["first", "member"]
    assert outcome.cost_usd_nanos == 2 * CHEAP + (DEAR if "escalate" in verdict else 0)


async def test_another_model_may_have_to_agree() -> None:
    rules = CascadeRules(agree=Agree(model="m2"))
    async with Rungs(saying("B"), never, saying("(b)"), cascade=rules, rungs=2) as world:
        reply = await world.request(body())
        assert reply.headers["x-headgate-cascade"] == "m0 accept passed"
        assert reply.headers["x-headgate-target"] == "up0/real"
        assert len(world.upstreams[2].requests) == 1


@pytest.mark.parametrize(
    ("mark", "verdict"), [("9", "accept passed"), ("3", "escalate judge"), ("?", "escalate judge")]
)
async def test_a_judge_marks_the_answer_in_a_call_of_its_own(mark: str, verdict: str) -> None:
    rules = CascadeRules(judge=Judge("m2", "Is it right?", 10**9))
    async with Rungs(plain, plain, saying(mark), cascade=rules, rungs=2) as world:
        reply = await world.request(body())
        assert reply.headers["x-headgate-cascade"].startswith(f"m0 {verdict}")
        sent = json.loads(world.upstreams[2].requests[0][1])
        assert "Is it right?" in sent["messages"][0]["content"]
        assert "hello" in sent["messages"][1]["content"]
    judged = next(outcome for outcome in world.outcomes if outcome.call.cause)
    assert judged.call.cause == next(outcome.call.id for outcome in world.outcomes if not outcome.call.cause)


async def test_the_time_of_a_judge_is_no_overhead_of_the_gate() -> None:
    async def slow(peer: Peer) -> None:
        await asyncio.sleep(3)
        await saying("9")(peer)

    rules = CascadeRules(judge=Judge("m2", "Is it right?", 10**9))
    async with Rungs(plain, plain, slow, cascade=rules, rungs=2) as world:
        await world.request(body())
    outcome = next(outcome for outcome in world.outcomes if not outcome.call.cause)
    assert outcome.duration_s >= 3
    assert outcome.duration_s - outcome.upstream_s < 0.1


async def test_a_judge_has_a_budget_of_its_own() -> None:
    rules = CascadeRules(judge=Judge("m2", "x", usd_nanos_a_day=1))
    async with Rungs(plain, plain, saying("9"), cascade=rules, rungs=2) as world:
        first, second = [await world.request(body()) for _ in range(2)]
        assert first.headers["x-headgate-cascade"] == "m0 accept passed"
        assert second.headers["x-headgate-cascade"] == "m0 escalate judge, m1 accept last"


async def answer_200(peer: Peer) -> None:
    await peer.reply(b'{"accepted":true}')


async def answer_no(peer: Peer) -> None:
    await peer.reply(b'{"accepted":false,"reason":"2+2 is not 5"}')


async def answer_nothing(peer: Peer) -> None:
    await peer.gone()


@pytest.mark.parametrize(
    ("verifier", "verdict", "why"),
    [
        (answer_200, "accept passed", "passed every gate"),
        (answer_no, "escalate verify", "2+2 is not 5"),
        (answer_nothing, "escalate verify", "did not answer"),
        (refusing, "escalate verify", "cannot be read"),
    ],
)
async def test_the_operators_verifier_has_a_word(
    verifier: Callable[[Peer], Awaitable[None]], verdict: str, why: str
) -> None:
    async with Rungs(plain, plain, verifier, rungs=2) as world:
        rules = CascadeRules(verify=Verify(f"http://127.0.0.1:{world.upstreams[2].port}/check", 5.0))
        world.use(rules)
        reply = await world.request(body())
        assert reply.headers["x-headgate-cascade"].startswith(f"m0 {verdict}")
        sent = json.loads(world.upstreams[2].requests[0][1])
        assert (sent["answer"], sent["model"], sent["request"]["messages"]) == ("hello", "m0", CHAT["messages"])
    assert any(why in decision.said for decision in world.outcomes[0].decisions)


# --- revision --------------------------------------------------------------------------------------------------------


async def test_a_failed_check_is_told_once_to_the_same_model() -> None:
    rules = CascadeRules(revise="same")
    cheap = in_turn(saying('{"n":"x"}'), saying('{"n":4}'))
    async with Rungs(cheap, never, cascade=rules) as world:
        reply = await world.request(body(response_format=STRICT))
        assert reply.headers["x-headgate-cascade"] == "m0 escalate valid_schema, m0 accept passed"
        second = json.loads(world.upstreams[0].requests[1][1])["messages"]
        assert second[0] == CHAT["messages"][0]
        assert '{"n":"x"}' in second[1]["content"] and "against 'type'" in second[1]["content"]
    assert world.outcomes[0].cost_usd_nanos == 2 * CHEAP


async def test_it_is_told_but_once() -> None:
    cheap = saying(" ")
    async with Rungs(cheap, plain, cascade=CascadeRules(revise="same")) as world:
        reply = await world.request(body())
        assert reply.headers["x-headgate-cascade"] == "m0 escalate not_empty, m0 escalate not_empty, m1 accept last"
        assert json.loads(world.upstreams[1].requests[0][1])["messages"] == CHAT["messages"]


async def test_or_to_the_next_model() -> None:
    async with Rungs(
        saying("no number"),
        saying(" "),
        plain,
        cascade=CascadeRules(accept=("regex", "not_empty"), pattern=r"\d", revise="next"),
    ) as world:
        await world.request(body())
        second, third = [json.loads(up.requests[0][1])["messages"] for up in world.upstreams[1:]]
        assert "no number" in second[-1]["content"]
        assert third == CHAT["messages"]


async def test_other_endpoints_are_told_that_it_is_none_of_theirs() -> None:
    async with Rungs(never, never) as world:
        reply = await world.request(b'{"model":"m","input":"x"}', path="/v1/embeddings")
        assert (reply.status, reply.error["param"]) == (400, "model")
