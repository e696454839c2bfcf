"""A stream whose money runs out: its hold grows with it, and where that is refused it ends properly and is settled."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from policies.limits import Limit, LimitsByName
from proxy.types import AbortRule, Outcome
from tests.flow.world import DONE, FINISH, ROLE, Peer, Response, World, token

EACH_S = 0.01
AT_ONCE = 10  # tokens an event
WORD = "word"
BODY = b'{"model":"m","messages":[],"stream":true,"max_tokens":4000}'
INPUT, OUTPUT = 1_000, 2_000  # nano-dollars for a token


class Talker:
    """Says as many tokens as it is let, and counts what it made."""

    def __init__(self, *, obeys: bool = True, prompt: int = 10, running: bool = False, each: int = AT_ONCE) -> None:
        self.made: list[int] = []
        self.closed_at: list[float] = []
        self._obeys = obeys
        self._prompt = prompt
        self._running = running
        self.each = each  # tokens an event
        self.beside = b""  # what else a choice says

    async def __call__(self, peer: Peer) -> None:
        limit = peer.json.get("max_tokens", 4000) if self._obeys else 100_000
        assert isinstance(limit, int)
        number = len(self.made)
        self.made.append(0)
        await peer.stream_head()
        await peer.chunk(ROLE)
        for made in range(self.each, limit + 1, self.each):
            await asyncio.sleep(EACH_S)
            self.made[number] = made
            try:
                await peer.chunk(self._event(made))
            except ConnectionError:
                self.closed_at.append(asyncio.get_running_loop().time())
                raise
        for event in (FINISH.replace(b"stop", b"length"), self._usage(limit), DONE):
            await peer.chunk(event)
        await peer.end()

    def _event(self, made: int) -> bytes:
        if not self._running:
            return token(WORD * self.each).replace(b'"finish_reason"', self.beside + b'"finish_reason"')
        usage = msgspec.json.encode({"prompt_tokens": self._prompt, "completion_tokens": made})
        return token(WORD * self.each).replace(b'"finish_reason":null}]', b'"finish_reason":null}],"usage":' + usage)

    def _usage(self, made: int) -> bytes:
        usage = msgspec.json.encode(
            {"prompt_tokens": self._prompt, "completion_tokens": made, "total_tokens": self._prompt + made}
        )
        return b'data: {"id":"c1","choices":[],"usage":' + usage + b"}\n\n"


def limited(*limits: Limit) -> LimitsByName:
    return LimitsByName({"key:key-1": limits})


def events(reply: Response) -> list[dict[str, object]]:
    lines = [line[6:] for line in reply.body.split(b"\n") if line.startswith(b"data: {")]
    return [msgspec.json.decode(line, type=dict[str, object]) for line in lines]


def was_cut(reply: Response) -> bool:
    return b'"x_headgate":{"cut":"budget"}' in reply.body


def flags(outcome: Outcome) -> tuple[str, ...]:
    usage = outcome.attempts[-1].usage
    assert usage is not None
    return usage.flags


async def test_a_soft_limit_lets_more_calls_run_than_their_longest_answers_would() -> None:
    """Of 30 million nano-dollars a hard limit admits three answers of 4,000 tokens, a soft one all ten."""
    talker = Talker()
    async with World(talker, limits_of=limited(Limit("usd", 30_000_000, soft=True))) as world:
        running = [asyncio.ensure_future(world.stream(BODY)) for _ in range(10)]  # noqa: TID251
        await asyncio.sleep(0.2)
        assert len(talker.made) == 10
        replies = await asyncio.gather(*running)
        assert all(reply.complete and reply.body.endswith(DONE) for reply in replies)
        (usd,) = world.store.standing("key:key-1")
        true = sum(10 * INPUT + made * OUTPUT for made in talker.made)
        assert usd.totals.spent + usd.totals.overrun >= true
        assert usd.totals.overrun == 0
        assert any(map(was_cut, replies)), "ten answers of 4,000 tokens cost more than that"


async def test_a_stream_that_is_cut_ends_as_at_its_output_limit_and_says_whose_it_was() -> None:
    talker = Talker()
    body = BODY.replace(b"}", b',"n":2,"stream_options":{"include_usage":true}}')
    async with World(talker, limits_of=limited(Limit("tokens", 2_500))) as world:
        reply = await world.stream(body)
        assert reply.complete
        *_, first, second, usage = events(reply)
        assert reply.body.endswith(b"\n\n" + DONE)
        for index, last in enumerate((first, second)):
            assert last["id"] == "c1"
            assert last["x_headgate"] == {"cut": "budget"}
            (choice,) = last["choices"]  # type: ignore[attr-defined]
            assert (choice["index"], choice["finish_reason"]) == (index, "length")
        assert usage["choices"] == []
        assert 1_800 < usage["usage"]["completion_tokens"] <= 2_100  # type: ignore[index]
        (outcome,) = world.outcomes
        assert (outcome.status, outcome.error_code, outcome.client_gone) == (200, None, False)
        assert "cut" in flags(outcome)


async def test_the_upstream_is_closed_at_once_and_the_account_is_charged_what_it_made() -> None:
    talker = Talker()
    async with World(talker, limits_of=limited(Limit("tokens", 1_500))) as world:
        reply = await world.stream(BODY)
        ended_at = asyncio.get_running_loop().time()
        await asyncio.sleep(1)
        assert was_cut(reply)
        assert talker.closed_at[0] - ended_at <= 0.1
        (tokens,) = world.store.standing("key:key-1")
        assert talker.made[0] + 10 <= tokens.totals.spent + tokens.totals.overrun <= 1_540


async def test_a_hold_grows_with_the_answer_while_there_is_money() -> None:
    talker = Talker()
    async with World(talker, limits_of=limited(Limit("tokens", 100_000))) as world:
        reply = await world.stream(BODY)
        assert not was_cut(reply)
        assert talker.made == [4_000]
        (tokens,) = world.store.standing("key:key-1")
        assert (tokens.totals.spent, tokens.totals.overrun, tokens.held) == (4_010, 0, 0)


@pytest.mark.parametrize("busy", [10, 5], ids="{} tokens an event".format)
async def test_an_engine_that_puts_fewer_tokens_into_an_event_than_before_is_neither_cut_nor_doubted(busy: int) -> None:
    """At rest its stream takes several times the bytes a token that it took under load, where its rate was learnt."""
    talker = Talker(each=busy)
    async with World(talker, limits_of=limited(Limit("usd", 10**9))) as world:
        for _ in range(3):
            await world.stream(BODY)
        talker.each = 1
        reply = await world.stream(BODY)
        assert reply.body.endswith(DONE)
        assert not was_cut(reply)
        assert [flags(outcome) for outcome in world.outcomes] == [()] * 4
        (usd,) = world.store.standing("key:key-1")
        assert usd.totals.spent == sum(10 * INPUT + made * OUTPUT for made in talker.made)


async def test_what_such_an_engine_reports_is_believed_where_nothing_limits_it() -> None:
    talker = Talker(each=10)
    async with World(talker, limits_of=LimitsByName({})) as world:
        for each in (10, 10, 1):
            talker.each = each
            await world.stream(BODY)
        assert [flags(outcome) for outcome in world.outcomes] == [()] * 3
        assert {outcome.cost_usd_nanos for outcome in world.outcomes} == {10 * INPUT + 4_000 * OUTPUT}


async def test_log_probabilities_take_bytes_and_are_neither_cut_nor_doubted() -> None:
    talker = Talker(each=1)
    async with World(talker, limits_of=limited(Limit("usd", 10**9))) as world:
        await world.stream(BODY)
        talker.beside = b'"logprobs":{"content":[%s]},' % (b'{"token":"word","logprob":-0.1},' * 80)[:-1]
        reply = await world.stream(BODY.replace(b"{", b'{"logprobs":true,"top_logprobs":20,', 1))
        talker.beside = b""
        await world.stream(BODY)
        assert reply.body.endswith(DONE)
        assert [flags(outcome) for outcome in world.outcomes] == [()] * 3
        (usd,) = world.store.standing("key:key-1")
        assert usd.totals.spent == 3 * (10 * INPUT + 4_000 * OUTPUT)


@pytest.mark.parametrize(
    ("running", "each", "most"),
    [(False, 1, 4_000 * 1.25 + 64 + 100), (False, AT_ONCE, 6 * (4_000 * 1.25 + 64) + 1_000), (True, AT_ONCE, 4_200)],
    ids=["by events", "by bytes where an event has ten tokens", "by usage frames"],
)
async def test_a_provider_that_does_not_keep_to_the_limit_is_cut(running: bool, each: int, most: float) -> None:
    talker = Talker(obeys=False, running=running, each=each)
    async with World(talker, limits_of=limited(Limit("usd", 10**9))) as world:
        reply = await world.stream(BODY)
        assert was_cut(reply)
        await asyncio.sleep(1)
        assert 4_000 < talker.made[0] < most


async def test_input_beyond_the_hold_takes_the_place_of_output_when_the_account_is_empty() -> None:
    talker = Talker(prompt=1_000, running=True)
    async with World(talker, limits_of=limited(Limit("usd", 9_000_000))) as world:
        reply = await world.stream(BODY)
        assert was_cut(reply)
        (usd,) = world.store.standing("key:key-1")
        assert usd.totals.spent + usd.totals.overrun >= 1_000 * INPUT + talker.made[0] * OUTPUT
        assert usd.totals.overrun < 100 * OUTPUT


async def test_input_beyond_the_hold_is_held_where_there_is_money() -> None:
    talker = Talker(prompt=1_000, running=True)
    async with World(talker, limits_of=limited(Limit("usd", 20_000_000))) as world:
        reply = await world.stream(BODY)
        assert not was_cut(reply)
        (outcome,) = world.outcomes
        assert outcome.attempts[0].held_usd_nanos >= 1_000 * INPUT + 4_000 * OUTPUT


async def test_an_answer_that_nobody_limits_is_held_as_it_grows_and_not_cut() -> None:
    talker = Talker(obeys=False)

    async def long(peer: Peer) -> None:
        await peer.stream_head()
        for event in (ROLE, *[token(WORD * AT_ONCE)] * 900, FINISH, talker._usage(9_000), DONE):
            await peer.chunk(event)
        await peer.end()

    async with World(long, limits_of=limited(Limit("usd", 10**9))) as world:
        reply = await world.stream(b'{"model":"m","messages":[],"stream":true}')
        assert not was_cut(reply)
        assert world.outcomes[0].cost_usd_nanos == 10 * INPUT + 9_000 * OUTPUT


async def test_what_a_provider_bills_on_for_is_read_to_its_end_after_the_cut() -> None:
    talker = Talker()
    async with World(talker, abort="continues", limits_of=limited(Limit("tokens", 1_500))) as world:
        reply = await world.stream(BODY)
        assert was_cut(reply)
        await asyncio.sleep(10)
        (outcome,) = world.outcomes
        assert talker.made == [4_000]
        assert outcome.cost_usd_nanos == 10 * INPUT + 4_000 * OUTPUT
        assert "cut" in flags(outcome)


@pytest.mark.parametrize("abort", ["unknown", "continues"])
async def test_a_client_that_leaves_a_soft_hold_exposes_what_its_limit_allows(abort: AbortRule) -> None:
    async def stuck(peer: Peer) -> None:
        await peer.stream_head()
        for event in (ROLE, token("word")):
            await peer.chunk(event)
        await peer.gone()

    async with World(stuck, abort=abort, limits_of=limited(Limit("usd", 10**9, soft=True))) as world:
        reader, writer = await world.connect()
        from_client = b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer hg-test-key\r\n"
        writer.write(from_client + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        await reader.readuntil(b"word")
        writer.close()
        await asyncio.sleep(300)
        (outcome,) = world.outcomes
        (attempt,) = outcome.attempts
        assert attempt.cost_usd_nanos == attempt.held_usd_nanos
        assert attempt.exposure_usd_nanos == (4_000 - 1_024) * OUTPUT
        (usd,) = world.store.standing("key:key-1")
        assert (usd.totals.spent, usd.held) == (attempt.held_usd_nanos, 0)


async def test_what_is_made_beyond_a_hold_is_overrun_and_blocks_the_account_at_once() -> None:
    """The budget ends in the middle of a stream, and the upstream says more in one breath than there was."""

    async def burst(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(ROLE)
        await peer.chunk(token("word"))
        await asyncio.sleep(1)
        await peer.chunk(token("word" * 50_000))
        await peer.gone()

    async with World(burst, limits_of=limited(Limit("tokens", 1_500))) as world:
        reply = await world.stream(BODY)
        assert was_cut(reply)
        (tokens,) = world.store.standing("key:key-1")
        assert tokens.totals.overrun > 400
        refused = await world.stream(BODY)
        assert refused.status == 402
        (limit,) = refused.error["limits"]  # type: ignore[misc]
        assert limit["reason"] == "overrun"
