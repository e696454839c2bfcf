"""Each verb does on the wire what it says, and the bill counts what was made until the client's leaving was seen."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from loadtests.upstream import Settings, Stage, read, start
from loadtests.upstream.bill import Entry
from loadtests.upstream.script import VERBS
from loadtests.upstream.text import answer_to
from tests.loadtests.test_upstream import Caller, events

MESSAGES = [{"role": "user", "content": "tell me"}]
PLAIN = json.dumps({"model": "m", "messages": MESSAGES}).encode()
STREAM = json.dumps(
    {"model": "m", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
).encode()


@asynccontextmanager
async def playing(*steps: object, abort: str = "stops") -> AsyncIterator[tuple[Caller, Stage]]:
    stage = Stage(read({"rules": [{"steps": list(steps)}] if steps else [], "abort": abort}), usage=io.StringIO())
    server = await start("127.0.0.1", 0, settings=Settings(), stage=stage)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield Caller(reader, writer), stage
    finally:
        writer.close()
        server.close()


def entry(stage: Stage) -> Entry:
    (found,) = stage.books.entries
    return found


def said(body: bytes) -> str:
    choices = [event["choices"][0] for event in events(body) if event["choices"]]  # type: ignore[index]
    return "".join(choice["delta"].get("content", "") for choice in choices)


async def test_without_a_rule_that_fits_the_answer_is_good_in_both_forms_and_billed_as_told() -> None:
    async with playing() as (client, stage):
        client.send(PLAIN)
        plain = json.loads((await client.reply())[1])
        client.send(STREAM)
        streamed = (await client.reply())[1]
    text = answer_to(json.loads(PLAIN), 20).text
    assert plain["choices"][0]["message"]["content"] == said(streamed) == text
    first, second = stage.books.entries
    assert plain["usage"]["completion_tokens"] == first.completion_tokens == 20
    assert events(streamed)[-1]["usage"]["completion_tokens"] == second.completion_tokens == 20  # type: ignore[index]
    assert (first.ended, second.ended, first.told, second.told) == ("whole", "whole", True, True)


async def test_an_output_limit_ends_the_answer_with_length() -> None:
    async with playing() as (client, _):
        client.send(PLAIN.replace(b"{", b'{"max_tokens":3,', 1))
        reply = json.loads((await client.reply())[1])
    assert (reply["choices"][0]["finish_reason"], reply["usage"]["completion_tokens"]) == ("length", 3)


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("/v1/completions", {"model": "m", "prompt": "p"}, "text"),
        ("/v1/embeddings", {"model": "m", "input": ["a", "b"]}, "embedding"),
    ],
)
async def test_completions_and_embeddings_are_served_too(path: str, body: object, found: str) -> None:
    async with playing() as (client, stage):
        client.send(json.dumps(body).encode(), path=path)
        status, reply = await client.reply()
    assert status.startswith(b"HTTP/1.1 200")
    assert all(found in each for each in json.loads(reply).get("choices", json.loads(reply).get("data")))
    assert entry(stage).prompt_tokens > 0


async def test_a_completion_streams_text_and_not_a_chat() -> None:
    async with playing() as (client, _):
        client.send(b'{"model":"m","prompt":"p","stream":true}', path="/v1/completions")
        told = events((await client.reply())[1])
    assert all("text" in event["choices"][0] for event in told)  # type: ignore[index]


async def test_who_leaves_pays_for_what_was_made_until_then() -> None:
    async with playing({"answer": {"tokens": 100, "interval": 1.0}}) as (client, stage):
        client.send(STREAM)
        await client.head()
        await asyncio.sleep(10.5)
        client.reset()
        await asyncio.sleep(1000)
        assert (entry(stage).completion_tokens, entry(stage).ended) == (10, "left")
        assert entry(stage).ended_at - entry(stage).asked_at == pytest.approx(10.5, abs=0.1)  # type: ignore[operator]


async def test_where_generation_goes_on_who_leaves_pays_for_all_of_it() -> None:
    async with playing({"answer": {"tokens": 100, "interval": 1.0}}, abort="continues") as (client, stage):
        client.send(STREAM)
        await client.head()
        await asyncio.sleep(10.5)
        client.reset()
        await asyncio.sleep(1000)
        assert entry(stage).completion_tokens == 100


async def test_the_usage_file_has_a_line_for_each_exchange_that_has_ended() -> None:
    file = io.StringIO()
    stage = Stage(read([{"answer": {"tokens": 2}}]), usage=file)
    server = await start("127.0.0.1", 0, settings=Settings(), stage=stage)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    client = Caller(reader, writer)
    for _ in range(2):
        client.send(PLAIN)
        await client.reply()
    writer.close()
    server.close()
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [(line["number"], line["completion_tokens"], line["ended"]) for line in lines] == [
        (1, 2, "whole"),
        (2, 2, "whole"),
    ]


async def test_a_reset_is_a_reset_and_a_close_is_a_close() -> None:
    async with playing("stream", "role", {"tokens": 2}, {"wait": 0.1}, "reset") as (client, stage):
        client.send(STREAM)
        await client.head()
        for _ in range(3):
            await client.chunk()
        with pytest.raises(ConnectionResetError):
            await client.chunk()
        await asyncio.sleep(1)
        assert (entry(stage).ended, entry(stage).completion_tokens) == ("cut", 2)
    async with playing("stream", {"tokens": 1}, "close") as (client, stage):
        client.send(STREAM)
        await client.head()
        await client.chunk()
        assert await client.ended()


async def test_a_script_that_ends_within_a_reply_leaves_it_unfinished() -> None:
    async with playing("stream", {"tokens": 1}) as (client, stage):
        client.send(STREAM)
        await client.head()
        await client.chunk()
        assert await client.ended()
        assert entry(stage).ended == "cut"


async def test_a_half_close_ends_this_side_only() -> None:
    async with playing("stream", "half_close", "stall") as (client, stage):
        client.send(STREAM)
        await client.head()
        assert await client.ended()
        assert entry(stage).ended == "open"


async def test_silence_lasts_until_the_client_leaves() -> None:
    async with playing("stall", abort="continues") as (client, stage):
        client.send(STREAM)
        await asyncio.sleep(100_000)
        assert entry(stage).ended == "open"
        client.reset()
        await asyncio.sleep(1)
        assert entry(stage).ended == "left"


async def test_bytes_are_sent_as_they_stand_and_at_their_time() -> None:
    async with playing("stream", {"drip": {"text": "abc", "interval": 2.0}}, {"chunk": {"text": "é", "times": 2}}) as (
        client,
        _,
    ):
        client.send(STREAM)
        await client.head()
        began = asyncio.get_running_loop().time()
        assert [await client.chunk() for _ in range(5)] == [b"a", b"b", b"c", b"\xe9", b"\xe9"]
        assert asyncio.get_running_loop().time() - began == pytest.approx(6.0, abs=0.1)


async def test_odd_replies_can_be_told() -> None:
    async with playing({"reply": {"body": {"a": 1}, "gzip": True, "headers": {"Set-Cookie": "c=1"}}}) as (client, _):
        client.send(PLAIN)
        _, headers = await client.head()
        assert (headers["content-encoding"], headers["set-cookie"]) == ("gzip", "c=1")
        assert json.loads(gzip.decompress(await client._reader.readexactly(int(headers["content-length"])))) == {"a": 1}
    async with playing({"redirect": "http://elsewhere.invalid/"}) as (client, _):
        client.send(PLAIN)
        status, headers = await client.head()
        assert (status.split()[1], headers["location"]) == (b"307", "http://elsewhere.invalid/")
    async with playing({"reply": {"status": 529}}) as (client, stage):
        client.send(PLAIN)
        assert b"scripted 529" in (await client.reply())[1]
        assert (entry(stage).prompt_tokens, stage.bill.errors) == (0, 1)


async def test_a_plain_answer_can_be_cut_anywhere_and_is_billed_whole() -> None:
    async with playing({"part": {"share": 0.25, "tokens": 7}}, "close") as (client, stage):
        client.send(PLAIN)
        _, headers = await client.head()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await client._reader.readexactly(int(headers["content-length"]))
    assert len(caught.value.partial) == pytest.approx(int(headers["content-length"]) / 4, abs=1)
    assert (entry(stage).completion_tokens, entry(stage).ended) == (7, "cut")


async def test_usage_is_the_truth_unless_it_is_told_otherwise() -> None:
    steps = ("stream", {"tokens": 3}, "usage", {"usage": {"completion_tokens": -5}}, "done", "end")
    async with playing(*steps) as (client, _):
        client.send(STREAM)
        *_, true, false = events((await client.reply())[1])
    assert true["usage"]["completion_tokens"] == 3  # type: ignore[index]
    assert false["usage"] == {"completion_tokens": -5}


async def test_tokens_of_a_script_go_on_where_it_stopped_and_heed_no_limit() -> None:
    async with playing("stream", {"tokens": 2}, {"event": "odd"}, {"tokens": 2}, "done", "end") as (client, _):
        client.send(STREAM.replace(b"{", b'{"max_tokens":1,', 1))
        body = (await client.reply())[1]
    assert said(body.replace(b"data: odd\n\n", b"")) == answer_to(json.loads(STREAM), 4).text


def test_every_verb_says_what_it_does() -> None:
    assert {"wait", "reply", "stream", "reset", "half_close", "stall", "drip", "endless", "redirect"} <= VERBS.keys()
    assert not any(verb.startswith("_") for verb in VERBS)
