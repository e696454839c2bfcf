"""Whose words are kept: as the agent's policy says, less what the caller wishes; heard as they go to the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import Raw, json, structs

from proxy.content.heard import Keeping
from proxy.content.keeper import Keeper
from proxy.content.segments import segments
from proxy.dialects.openai_chat import OpenAI
from proxy.snapshot import AgentRules
from proxy.state.content_report import ContentEntry
from proxy.surfaces.overheard import keeping, kept_headers, presented
from proxy.types import ContentPolicy
from tests.flow.world import DONE, FINISH, KEY, Peer, Script, World, plain, streaming, token

BODY = b'{"model":"m","messages":[{"role":"user","content":"what was asked"}]}'
STREAM = BODY[:-1] + b',"stream":true}'


@asynccontextmanager
async def words(script: Script, folder: Path, policy: ContentPolicy = "full") -> AsyncIterator[World]:
    world = World(script, rules=AgentRules(content=policy))
    keeper = Keeper(folder, "gate", dialect=OpenAI(), wall=world.clock.wall, report=lambda why: None)
    world.content = keeper
    async with world:
        world.snapshot = structs.replace(world.snapshot, keeps_content=True)
        yield world
    keeper.close()


def kept(folder: Path) -> list[ContentEntry]:
    lines = b"".join(each.path.read_bytes() for each in segments(folder)).splitlines()
    return [json.decode(line, type=ContentEntry) for line in lines]


async def torn(peer: Peer) -> None:
    """A stream that breaks off after a word."""
    await peer.stream_head()
    await peer.chunk(token("half "))
    peer.reset()
    raise ConnectionResetError


async def test_a_plain_call_is_kept_as_its_client_saw_it(tmp_path: Path) -> None:
    async with words(plain, tmp_path) as world:
        response = await world.request(BODY, headers="User-Agent: agent/7\r\nCookie: a=b\r\n")
    (entry,) = kept(tmp_path)
    assert entry.request is not None and entry.reply is not None
    assert json.decode(entry.request.text or "") == json.decode(BODY)
    assert entry.request.headers == {"user-agent": "agent/7", "content-type": "application/json"}
    assert json.decode(entry.reply.text or "") == response.json
    assert (entry.id, entry.reply.status, entry.reply.complete) == (world.outcomes[0].call.id, 200, True)
    assert entry.reply.bytes == len(response.body)


async def test_a_stream_is_kept_put_together(tmp_path: Path) -> None:
    async with words(streaming, tmp_path) as world:
        response = await world.request(STREAM)
    (entry,) = kept(tmp_path)
    assert entry.reply is not None and entry.reply.text is not None
    said = json.decode(entry.reply.text)["choices"][0]["message"]["content"]
    assert said == "hello"
    assert b"hello" not in response.body, "it came in pieces"
    assert (entry.reply.bytes, entry.reply.complete) == (len(response.body), True)


async def test_of_a_stream_that_broke_off_is_kept_what_went_out(tmp_path: Path) -> None:
    async with words(torn, tmp_path) as world:
        assert not (await world.request(STREAM)).complete
    (entry,) = kept(tmp_path)
    assert entry.reply is not None
    assert "half" in (entry.reply.text or "") and entry.reply.complete is False


async def test_a_refusal_is_kept_too(tmp_path: Path) -> None:
    async with words(plain, tmp_path) as world:
        await world.request(BODY.replace(b'"m"', b'"nothing"'))
    (entry,) = kept(tmp_path)
    assert entry.reply is not None
    assert entry.reply.status == 404 and "what was asked" in str(entry.request)


@pytest.mark.parametrize("header", ["X-Headgate-Content: off", "x-portkey-debug: false"])
async def test_a_caller_can_have_nothing_kept(header: str, tmp_path: Path) -> None:
    async with words(plain, tmp_path) as world:
        assert (await world.request(BODY, headers=f"{header}\r\n")).status == 200
    assert kept(tmp_path) == []


async def test_where_the_policy_is_off_a_caller_cannot_have_it_kept(tmp_path: Path) -> None:
    async with words(plain, tmp_path, "off") as world:
        assert (await world.request(BODY, headers="X-Headgate-Content: full\r\n")).status == 200
    assert kept(tmp_path) == []


async def test_a_policy_is_that_of_the_calls_agent(tmp_path: Path) -> None:
    async with words(plain, tmp_path, "off") as world:
        world.agents["planner"] = AgentRules(content="digest")
        for path in ("/v1/chat/completions", "/agents/planner/v1/chat/completions"):
            assert (await world.request(BODY, path=path)).status == 200
    assert [(entry.agent, entry.policy) for entry in kept(tmp_path)] == [("planner", "digest")]


async def test_the_upstream_is_not_told_the_wish(tmp_path: Path) -> None:
    async with words(plain, tmp_path) as world:
        await world.request(BODY, headers="X-Headgate-Content: off\r\nHelicone-Omit-Request: true\r\n")
        ((head, _),) = world.upstreams[0].requests
        assert b"headgate-content" not in head.lower() and b"helicone" not in head.lower()


async def test_the_key_that_came_with_a_call_is_not_kept_even_in_its_words(tmp_path: Path) -> None:
    async def echo(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token(f"you are {KEY[:9]}") + token(KEY[9:]) + FINISH + DONE)
        await peer.end()

    async with words(echo, tmp_path) as world:
        await world.request(STREAM.replace(b"what was asked", f"I am {KEY}".encode()))
    text = b"".join(each.path.read_bytes() for each in segments(tmp_path))
    assert text.count(b"[presented key]") == 2 and KEY.encode() not in text


# --- the wish, by every name it goes by ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"x-headgate-content": "off"}, None),
        ({"x-headgate-content": " None "}, None),
        ({"x-headgate-content": "redated"}, None),  # for less, whatever was meant
        ({"helicone-omit-request": "true", "helicone-omit-response": "true"}, None),
        ({"x-portkey-debug": "false"}, None),
        ({"x-litellm-enable-message-redaction": "True"}, None),
        ({"litellm-enable-message-redaction": "true"}, None),
        ({"cf-aig-collect-log": "false"}, None),
        ({"cf-aig-collect-log-payload": "false"}, None),
        ({}, {"no-log": Raw(b" true")}),
    ],
)
def test_nothing_is_kept(headers: dict[str, str], fields: dict[str, Raw] | None) -> None:
    assert keeping("full", headers, fields) is None


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({}, Keeping("full")),
        ({"x-headgate-content": "full"}, Keeping("full")),
        ({"x-headgate-content": "on"}, Keeping("full")),
        ({"x-headgate-content": "Redacted"}, Keeping("redacted")),
        ({"x-headgate-content": "digest", "helicone-omit-response": "true"}, Keeping("digest", reply=False)),
        ({"x-portkey-debug": "true", "cf-aig-collect-log": "true"}, Keeping("full")),
        ({"helicone-omit-request": "true"}, Keeping("full", request=False)),
        ({"helicone-omit-response": "TRUE"}, Keeping("full", reply=False)),
        ({"helicone-omit-request": "false"}, Keeping("full")),
    ],
)
def test_what_is_left_is_kept(headers: dict[str, str], kept: Keeping) -> None:
    assert keeping("full", headers, {"no-log": Raw(b"false")}) == kept
    assert keeping("off", headers, None) is None


def test_a_caller_can_have_less_and_never_more() -> None:
    for wish in ("full", "redacted", "on"):
        assert keeping("digest", {"x-headgate-content": wish}, None) == Keeping("digest")


def test_of_the_headers_only_those_that_name_a_client_are_kept() -> None:
    given = {"user-agent": "x" * 999, "x-stainless-lang": "python", "x-title": "t"}
    never = dict.fromkeys(("authorization", "x-api-key", "cookie", "x-custom", "helicone-auth", "x-headgate-tags"), "v")
    assert kept_headers(given | never) == given | {"user-agent": "x" * 256}


def test_credentials_are_known_wherever_they_came_in() -> None:
    given = {"authorization": "Bearer key-of-some-length", "x-api-key": "another-key", "api-key": "short"}
    assert presented(given) == ("key-of-some-length", "another-key")
    assert presented({}) == ()
