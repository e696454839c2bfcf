"""Promises that the simulation once found broken, each in the smallest world that shows it."""

from __future__ import annotations

import asyncio

import pytest
from aiohappyeyeballs import AddrInfoType
from msgspec import structs

from proxy.providers.base import UpstreamRequest
from proxy.providers.transport import HttpTransport
from proxy.snapshot import AgentRules, Limits
from proxy.surfaces.connection import Edges
from proxy.types import AbortRule, Outcome
from tests.flow.world import REPLY, Peer, World, head, read_response
from tests.sim.client import Wire
from tests.sim.gate import PLAIN, PROMPT, STREAM, SmallGate, answer
from tests.sim.vendor import Script, Step
from tests.sim.virtual import run

# As OpenAI reports it: the event is several times as long as one of text.
ONE_TOKEN = (
    b'"completion_tokens":1,"total_tokens":6,"prompt_tokens_details":{"cached_tokens":2,"audio_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,'
    b'"rejected_prediction_tokens":0}'
)
ASKS_USAGE = STREAM[:-1] + b',"stream_options":{"include_usage":true}}'


def test_a_reply_of_one_token_is_charged_as_one_token() -> None:
    def short(request: UpstreamRequest) -> Script:
        whole = answer(request)
        figures = b'"completion_tokens":4,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":2}'
        assert figures in whole.steps[-1].data
        tail = whole.steps[-1].data.replace(figures, ONE_TOKEN)
        steps = (*whole.steps[:2], whole.steps[-2], structs.replace(whole.steps[-1], data=tail))
        return structs.replace(whole, steps=steps, output=1)

    async def once() -> Outcome:
        return await SmallGate(short).serve(ASKS_USAGE)

    usage = run(once()).attempts[0].usage
    assert usage is not None
    assert (usage.output, usage.flags) == (1, ())


@pytest.mark.parametrize("rule", ["unknown", "continues"])
@pytest.mark.parametrize(
    ("limit", "raw"),
    [("deadline", PLAIN), ("deadline", STREAM), ("first token", PLAIN), ("first token", STREAM), ("idle", STREAM)],
    ids=["deadline, plain", "deadline, stream", "first token, plain", "first token, stream", "idle, stream"],
)
def test_what_the_gate_closes_is_billed_by_the_abort_rule(raw: bytes, rule: AbortRule, limit: str) -> None:
    def stalling(request: UpstreamRequest) -> Script:
        script = answer(request)
        if limit == "idle":
            return structs.replace(script, steps=script.steps[:3], end="silence", output=100)
        return structs.replace(script, head_at=1e6, output=100)

    async def once() -> Outcome:
        rules = AgentRules(first_token_timeout_s=5.0 if limit == "first token" else 50.0, idle_timeout_s=5.0)
        gate = SmallGate(stalling, abort=rule, bills_on=True, rules=structs.replace(rules, retry=_once(rules)))
        return await gate.serve(raw, allowed_s=8.0 if limit == "deadline" else 60.0)

    assert (run(once()).cost_usd_nanos or 0) >= PROMPT * 1_000 + 100 * 2_000


def test_a_client_that_leaves_after_its_last_event_does_not_change_the_bill() -> None:
    async def slowly(text: str, vocabulary: str) -> int:
        await asyncio.sleep(0.2)  # loading a vocabulary takes that long
        return len(text) // 4

    async def once(*, leaves: bool) -> Outcome:
        gate = SmallGate(stream_usage=False, abort="unknown", count_text=slowly)
        serving = asyncio.get_running_loop().create_task(
            gate.pipeline.serve(gate.call(STREAM), gate.wire, gate.snapshot)
        )
        await asyncio.sleep(2.55)  # the last event comes at 2.5
        assert gate.wire.ended == "end"
        if leaves:
            serving.cancel()
        await asyncio.wait((serving,))
        await gate.check()
        return gate.outcomes[0]

    assert run(once(leaves=True)).cost_usd_nanos == run(once(leaves=False)).cost_usd_nanos


async def no_address(host: str, port: int) -> list[AddrInfoType]:
    """A name server that never answers."""
    await asyncio.sleep(1e6)
    return []


@pytest.mark.parametrize("how", ["deadline", "client"])
async def test_nothing_sent_is_nothing_billed(how: str) -> None:
    transport = HttpTransport(resolve=no_address, connect_s=30.0)
    gate = SmallGate(abort="unknown", transport=transport)
    serving = asyncio.get_running_loop().create_task(
        gate.pipeline.serve(gate.call(STREAM, allowed_s=2.0), gate.wire, gate.snapshot)
    )
    if how == "client":
        await asyncio.sleep(1)
        serving.cancel()
    await asyncio.wait((serving,))
    await transport.close()
    (outcome,) = gate.outcomes
    assert outcome.cost_usd_nanos == 0


def test_a_client_that_does_not_read_the_first_event_is_not_the_upstreams_fault() -> None:
    async def once() -> Outcome:
        gate = SmallGate()
        gate.wire = Wire(stuck_after=0)
        serving = asyncio.get_running_loop().create_task(
            gate.pipeline.serve(gate.call(STREAM), gate.wire, gate.snapshot)
        )
        await asyncio.wait((serving,), timeout=100)
        serving.cancel()
        await asyncio.wait((serving,))
        return gate.outcomes[0]

    outcome = run(once())
    assert outcome.error_source != "upstream"
    assert outcome.client_gone


def test_who_leaves_while_an_error_is_written_is_gone() -> None:
    async def once() -> Outcome:
        gate = SmallGate(lambda request: Script("400", 400, steps=(Step(0.1, b"{}"),), billed=False))
        gate.wire = Wire(slow_s=5)
        serving = asyncio.get_running_loop().create_task(
            gate.pipeline.serve(gate.call(STREAM), gate.wire, gate.snapshot)
        )
        await asyncio.sleep(1)
        serving.cancel()
        await asyncio.wait((serving,))
        return gate.outcomes[0]

    assert run(once()).client_gone


def test_nothing_follows_the_end_marker() -> None:
    async def once() -> bytes:
        gate = SmallGate()
        gate.wire = Wire(slow_s=0.4)
        await gate.pipeline.serve(gate.call(STREAM, allowed_s=3.0), gate.wire, gate.snapshot)
        return gate.wire.body

    body = run(once())
    assert b"[DONE]" in body
    assert body.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_never_reads_its_plain_reply_is_let_go() -> None:
    big = REPLY.replace(b"hello", b"x" * 30_000_000)

    async def script(peer: Peer) -> None:
        await peer.reply(big)

    async with World(script, limits=Limits(write_timeout_s=5), edges=Edges(keepalive_s=20)) as world:
        _, writer = await world.connect()
        body = b'{"model":"m","messages":[]}'
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # StreamWriter hides that it can
        writer.write(head(body, path="/v1/chat/completions", headers="X-Headgate-Deadline: 20\r\n") + body)
        await asyncio.sleep(300)
        assert world._server is not None
        still = len(world._server.connections)
        writer.transport.abort()
        await asyncio.sleep(1)
        assert still == 0


async def test_replies_do_not_pile_up_for_a_client_that_only_asks() -> None:
    async def script(peer: Peer) -> None:
        await peer.reply(REPLY.replace(b"hello", b"x" * 1_000_000))

    async with World(script, limits=Limits(write_timeout_s=5)) as world:
        _, writer = await world.connect()
        body = b'{"model":"m","messages":[]}'
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(30):
            writer.write(head(body, path="/v1/chat/completions") + body)
        await asyncio.sleep(2)
        assert world._server is not None
        (connection,) = world._server.connections
        waiting = connection.transport.get_write_buffer_size()
        writer.transport.abort()
        await asyncio.sleep(1)
        assert waiting < 4_000_000


async def test_nothing_of_ours_is_written_into_a_reply_that_is_not_events() -> None:
    async def speech(peer: Peer) -> None:
        await peer.stream_head()

    async def sound(peer: Peer) -> None:
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.chunk(b"\x01\x02")
        await asyncio.sleep(20)
        await peer.chunk(b"\x03\x04")
        await peer.end()

    async with World(sound, limits=Limits(heartbeat_s=5)) as world:
        body = b'{"model":"m","input":"hi","voice":"v","stream":true}'
        response = await world.request(body, path="/v1/audio/speech")
        assert response.body == b"\x01\x02\x03\x04"


async def test_a_deadline_covers_the_upload() -> None:
    async with World(_never) as world:
        reader, writer = await world.connect()
        headers = "Content-Length: 5000\r\nX-Headgate-Deadline: 1\r\n"
        writer.write(head(b"", path="/v1/chat/completions", headers=headers) + b'{"mod')
        began = asyncio.get_running_loop().time()
        await read_response(reader)
        assert asyncio.get_running_loop().time() - began <= 1.05


async def test_a_credential_in_a_content_type_is_redacted_too() -> None:
    async def echo(peer: Peer) -> None:
        key = (peer.header("authorization") or "").partition(" ")[2]
        await peer.reply(REPLY, headers=f"Content-Type: application/json; echo={key}\r\n")

    async with World(echo) as world:
        response = await world.request()
        assert response.status == 200
        assert not any("sk-upstream-secret" in value for value in response.headers.values())


async def _never(peer: Peer) -> None:
    raise ConnectionResetError


def _once(rules: AgentRules) -> object:
    return structs.replace(rules.retry, attempts=1)
