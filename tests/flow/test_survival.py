"""Streams whose upstream dies in the middle: what the client gets, byte for byte, and who is paid for what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from policies.limits import Limit, LimitsByName
from policies.retry import Retry
from policies.survival import Survival
from pricing.gpu import GpuRate
from proxy.snapshot import AgentRules
from proxy.types import AbortRule
from tests.effort import some
from tests.flow.world import DONE, Peer, Response, World, head, token

PROMPT_TOKENS = 7
WORDS = ("One", " two", ' "three"', "\n", "vier 🙂", " ü", " seven", ".")
TEXT = "".join(WORDS)
STREAM = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}'
WITH_USAGE = STREAM[:-1] + b',"stream_options":{"include_usage":true}}'
RULES = AgentRules(survival=Survival("continue"), retry=Retry(attempts=5), idle_timeout_s=30.0)

Death = Callable[[Peer], Awaitable[None]]


class Message(msgspec.Struct):
    role: str
    content: str


class Asked(msgspec.Struct):
    messages: list[Message]
    continue_final_message: bool = False
    add_generation_prompt: bool = True
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    @property
    def begun(self) -> str:
        return self.messages[-1].content if self.continue_final_message else ""


async def reset(peer: Peer) -> None:
    await asyncio.sleep(0.1)  # so that what was sent before has arrived
    peer.reset()


async def clean_end(peer: Peer) -> None:
    await peer.end()


async def silence(peer: Peer) -> None:
    await peer.gone()


async def error_event(peer: Peer) -> None:
    await asyncio.sleep(0.1)
    await peer.chunk(b'data: {"error":{"message":"engine died","type":"server_error","code":500}}\n\n' + DONE)
    await peer.end()


DEATHS = pytest.mark.parametrize("death", [reset, clean_end, silence, error_event])


class Engine:
    """Says `WORDS`, or what of them follows the message that it is to go on with. Dies after `lives` tokens, or in the
    middle of an event: `torn` bytes of the next one come through."""

    def __init__(self, name: str, lives: int | None = None, *, death: Death = reset, torn: int = 0) -> None:
        self.name = name
        self.lives = lives
        self.death = death
        self.torn = torn
        self.pause_s = 0.01  # so that tokens come one by one; without, all at once
        self.asked: list[Asked] = []

    async def __call__(self, peer: Peer) -> None:
        asked = msgspec.json.decode(peer.body, type=Asked)
        self.asked.append(asked)
        assert asked.add_generation_prompt is not asked.continue_final_message  # engines refuse both together
        left = remaining(asked.begun)
        await peer.stream_head()
        await peer.chunk(self._event({"role": "assistant", "content": ""}))
        for at, word in enumerate(left):
            if self.lives is not None and at >= self.lives:
                if self.torn:
                    await peer.chunk(self._event({"content": word})[: self.torn])
                await self.death(peer)
                return
            await peer.chunk(self._event({"content": word}))
            await asyncio.sleep(self.pause_s)
        if self.lives == len(left):  # all is said, but nobody knows
            await self.death(peer)
            return
        for event in (self._event({}, "stop"), self._usage(asked, len(left)), DONE):
            await peer.chunk(event)
        await peer.end()

    def _event(self, delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self._data({"choices": [choice]})

    def _usage(self, asked: Asked, made: int) -> bytes:
        prompt = PROMPT_TOKENS + len(WORDS) - len(remaining(asked.begun))
        usage = {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
        return self._data({"choices": [], "usage": usage})

    def _data(self, fields: dict[str, object]) -> bytes:
        names = {"id": f"chatcmpl-{self.name}", "object": "chat.completion.chunk", "created": 1, "model": "real"}
        return b"data: " + msgspec.json.encode(names | {"created": len(self.name)} | fields) + b"\n\n"


def remaining(begun: str) -> tuple[str, ...]:
    for count in range(len(WORDS) + 1):
        if "".join(WORDS[:count]) == begun:
            return WORDS[count:]
    raise AssertionError(f"asked to go on with what nobody said: {begun!r}")


class Chunk(msgspec.Struct):
    choices: list[dict[str, object]] = []
    id: str | None = None
    created: int | None = None
    usage: dict[str, int] | None = None
    x_headgate: dict[str, str] | None = None
    error: dict[str, object] | None = None


def chunks(response: Response) -> list[Chunk]:
    events = [event for event in map(bytes.strip, response.body.split(b"\n\n")) if event.startswith(b"data: {")]
    return [msgspec.json.decode(event[6:], type=Chunk) for event in events]


def deltas(response: Response) -> list[dict[str, str]]:
    return [choice["delta"] for chunk in chunks(response) for choice in chunk.choices]  # type: ignore[misc]


def text(response: Response) -> str:
    return "".join(delta.get("content", "") for delta in deltas(response))


def assert_one_answer(response: Response, by: str) -> None:
    """As one engine would have given it, but for the mark."""
    assert response.complete
    assert response.body.endswith(DONE)
    assert response.body.count(b"[DONE]") == 1
    assert text(response) == TEXT
    assert sum("role" in delta for delta in deltas(response)) == 1
    found = chunks(response)
    assert len({(chunk.id, chunk.created) for chunk in found}) == 1
    assert [chunk.x_headgate for chunk in found if chunk.x_headgate] == [{"continued": by}]


@DEATHS
@pytest.mark.parametrize("lives", range(1, len(WORDS) + 1))
async def test_a_death_after_any_token_costs_the_client_none_and_doubles_none(lives: int, death: Death) -> None:
    first, second = Engine("first", lives, death=death), Engine("second")
    async with World(first, second, rules=RULES, continues=True) as world:
        response = await world.stream(WITH_USAGE)
        assert_one_answer(response, "up1/real")
        assert response.headers["x-headgate-served-by"] == "primary"
    assert second.asked[0].begun == "".join(WORDS[:lives])
    (outcome,) = world.outcomes
    assert outcome.error_code is None
    assert [(each.role, each.target.id) for each in outcome.attempts] == [("first", "up0/real"), ("retry", "up1/real")]
    assert [each.lesson for each in outcome.attempts] == ["overload" if death is silence else "failure", "success"]
    said = [decision.said for decision in outcome.decisions][-1]
    assert said.startswith("up0/real broke off (upstream_"), said
    assert said.endswith(f"after about {lives} tokens, up1/real goes on")
    usage = next(chunk.usage for chunk in chunks(response) if chunk.usage)
    assert usage == {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": len(WORDS), "total_tokens": 15}


async def test_a_death_at_any_byte_of_an_event_is_as_if_the_event_had_never_begun() -> None:
    size = len(Engine("first")._event({"content": WORDS[3]}))
    for torn in some(range(1, size - 1)):
        first, second = Engine("first", 3, torn=torn), Engine("second")
        async with World(first, second, rules=RULES, continues=True) as world:
            assert_one_answer(await world.stream(), "up1/real")


async def test_an_event_that_only_lacks_its_blank_line_counts_once_and_goes_out() -> None:
    size = len(Engine("first")._event({"content": WORDS[3]}))
    for torn in (size - 2, size - 1, size):
        first, second = Engine("first", 3, torn=torn, death=clean_end), Engine("second")
        async with World(first, second, rules=RULES, continues=True) as world:
            assert_one_answer(await world.stream(), "up1/real")
        assert second.asked[0].begun == "".join(WORDS[:4])


async def test_tokens_that_come_all_at_once_are_joined_as_well() -> None:
    first, second = Engine("first", 4), Engine("second")
    first.pause_s = second.pause_s = 0.0
    async with World(first, second, rules=RULES, continues=True) as world:
        assert_one_answer(await world.stream(), "up1/real")


async def test_both_upstreams_are_paid_for_what_each_of_them_did() -> None:
    first, second = Engine("first", 5), Engine("second")
    async with World(first, second, rules=RULES, continues=True) as world:
        await world.stream(WITH_USAGE)
    died, lived = world.outcomes[0].attempts
    assert died.usage is not None
    assert lived.usage is not None
    assert (died.usage.source, lived.usage.source) == ("estimated", "reported")
    assert died.usage.output > 0
    assert (lived.usage.input_total, lived.usage.output_total) == (PROMPT_TOKENS + 5, len(WORDS) - 5)
    assert died.cost_usd_nanos is not None
    assert lived.cost_usd_nanos == (PROMPT_TOKENS + 5) * 1_000 + (len(WORDS) - 5) * 2_000
    assert world.outcomes[0].cost_usd_nanos == died.cost_usd_nanos + lived.cost_usd_nanos


async def test_the_accounts_are_charged_for_both_and_hold_nothing_afterwards() -> None:
    async with World(Engine("first", 5), Engine("second"), rules=RULES, continues=True) as world:
        await world.stream()
        sums = world.store.account("key:key-1")
        assert sums.posted_usd_nanos == world.outcomes[0].cost_usd_nanos
        usages = [each.usage for each in world.outcomes[0].attempts]
        assert sums.posted_tokens == sum(usage.input_total + usage.output_total for usage in usages if usage)
    assert all(each.held_usd_nanos > 0 for each in world.outcomes[0].attempts)


async def test_who_goes_on_holds_the_text_so_far_as_input() -> None:
    words = "word " * 2_000

    async def dying(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token(words))
        await reset(peer)

    async def second(peer: Peer) -> None:
        await peer.reply(b'{"error":{"message":"no"}}', status="400 No")

    body = STREAM[:-1] + b',"max_tokens":3000}'
    async with World(dying, second, rules=RULES, continues=True) as world:
        await world.stream(body)
    first, last = world.outcomes[0].attempts
    made = len(words) // 4
    assert last.held_usd_nanos - first.held_usd_nanos >= made * 1_000 - made * 2_000  # more input, less output


async def test_a_budget_that_is_used_up_ends_it_where_it_broke_off() -> None:
    async def dying(peer: Peer) -> None:
        await peer.stream_head()
        for _ in range(60):
            await peer.chunk(token("word"))
        await reset(peer)

    second = Engine("second")
    limits = LimitsByName({"key:key-1": (Limit("usd", 400_000),)})
    body = STREAM[:-1] + b',"max_tokens":100}'
    async with World(dying, second, rules=RULES, continues=True, limits_of=limits) as world:
        response = await world.stream(body)
        assert not response.complete
        assert b'"code":"upstream_broken"' in response.body
        assert b"budget" not in response.body
    assert second.asked == []
    assert world.outcomes[0].decisions[-1].said == "up0/real broke off and nobody goes on: budget_exceeded"
    assert [each.role for each in world.outcomes[0].attempts] == ["first"]


@pytest.mark.parametrize("abort", ["stops", "continues", "unknown"])
@pytest.mark.parametrize(("death", "closed_by_us"), [(silence, True), (reset, False)])
async def test_who_died_is_billed_by_its_abort_rule_where_the_gate_closed_it(
    abort: AbortRule, death: Death, closed_by_us: bool
) -> None:
    first = Engine("first", 5, death=death)
    body = STREAM[:-1] + b',"max_tokens":500}'
    async with World(first, Engine("second"), rules=RULES, continues=True, abort=abort) as world:
        assert_one_answer(await world.stream(body), "up1/real")
        assert world.store.account("key:key-1").posted_usd_nanos == world.outcomes[0].cost_usd_nanos
    died, lived = world.outcomes[0].attempts
    assert died.usage is not None
    assert ("held" in died.usage.flags) is (closed_by_us and abort != "stops")
    assert lived.usage is not None
    assert lived.usage.source == "reported"


async def test_engines_that_cost_by_the_hour_are_paid_for_their_time_and_free_afterwards() -> None:
    async def slow(peer: Peer) -> None:
        await asyncio.sleep(2)
        await Engine("second")(peer)

    rate = GpuRate(3_600_000_000_000)  # a second costs 1,000,000,000 nano-dollars
    async with World(Engine("first", 5), slow, rules=RULES, continues=True, gpu=rate) as world:
        assert_one_answer(await world.stream(), "up1/real")
    died, lived = world.outcomes[0].attempts
    assert died.gpu_s == pytest.approx(0.15, abs=0.05)  # five tokens, and the time until it was seen to be dead
    assert lived.gpu_s == pytest.approx(2.03, abs=0.05)


async def test_money_that_runs_out_in_the_rest_ends_the_one_answer_properly() -> None:
    async def endless(peer: Peer) -> None:
        await peer.stream_head()
        for _ in range(500):
            await peer.chunk(token("word" * 10))
            await asyncio.sleep(0.01)

    limits = LimitsByName({"key:key-1": (Limit("tokens", 1_000),)})
    body = WITH_USAGE[:-1] + b',"max_tokens":400}'
    async with World(Engine("first", 3), endless, rules=RULES, continues=True, limits_of=limits) as world:
        response = await world.stream(body)
        assert response.complete
        assert response.body.endswith(DONE)
    *_, last, usage = chunks(response)
    assert (last.id, last.choices[0]["finish_reason"]) == ("chatcmpl-first", "length")
    assert usage.usage is not None
    assert usage.usage["completion_tokens"] > 3
    lived = world.outcomes[0].attempts[1].usage
    assert lived is not None
    assert "cut" in lived.flags


@pytest.mark.parametrize("lives", [2, 5])
async def test_with_a_strict_ledger_the_last_word_waits_for_the_row_of_both(lives: int) -> None:
    async with World(Engine("first", lives), Engine("second"), rules=RULES, continues=True) as world:
        kept: list[int] = []

        async def keep() -> None:
            kept.append(len(world.outcomes[0].attempts))

        world.on_disk = keep
        world.snapshot = msgspec.structs.replace(world.snapshot, strict=True)
        assert_one_answer(await world.stream(), "up1/real")
        assert kept == [2]


async def test_who_goes_on_may_die_as_well() -> None:
    first, second = Engine("first", 2), Engine("second", 3)

    async def healed(peer: Peer) -> None:
        await Engine("first")(peer) if first.asked else await first(peer)

    async with World(healed, second, rules=RULES, continues=True) as world:
        response = await world.stream(WITH_USAGE)
        assert response.complete
        assert text(response) == TEXT
        marks = [chunk.x_headgate["continued"] for chunk in chunks(response) if chunk.x_headgate]
        assert marks == ["up1/real", "up0/real"]
    assert [each.role for each in world.outcomes[0].attempts] == ["first", "retry", "retry"]


async def test_a_third_death_is_the_end_and_the_client_learns_how_far_it_got() -> None:
    first, second = Engine("first", 2), Engine("second", 2)
    async with World(first, second, rules=RULES, continues=True) as world:
        response = await world.stream()
        assert not response.complete
        assert b"[DONE]" not in response.body
        assert text(response) == "".join(WORDS[:6])
        error = chunks(response)[-1].error
        assert error is not None
        assert (error["code"], error["target"]) == ("upstream_broken", "up0/real")
        assert isinstance(error["relayed_tokens"], int)
        assert error["relayed_tokens"] >= 6
    (outcome,) = world.outcomes
    assert outcome.error_code == "upstream_broken"
    assert len(outcome.attempts) == 3
    assert outcome.decisions[-1].said == "up0/real broke off and nobody goes on: it was continued 2 times"


async def test_who_cannot_go_on_leaves_the_error_that_broke_the_stream() -> None:
    async def refusing(peer: Peer) -> None:
        await peer.reply(b'{"error":{"message":"no such field"}}', status="400 Bad Request")

    async with World(Engine("first", 2), refusing, rules=RULES, continues=True) as world:
        response = await world.stream()
        assert not response.complete
        assert text(response) == "".join(WORDS[:2])
        assert b'"code":"upstream_broken"' in response.body
        assert b"no such field" not in response.body
    assert world.outcomes[0].decisions[-1].said.endswith("nobody goes on: upstream_rejected")


async def test_an_engine_that_answers_whole_does_not_go_on() -> None:
    async def plain(peer: Peer) -> None:
        await peer.reply(b'{"object":"chat.completion","choices":[{"index":0,"message":{"content":"Hello"}}]}')

    async with World(Engine("first", 2), plain, rules=RULES, continues=True) as world:
        response = await world.stream()
        assert not response.complete
        assert text(response) == "".join(WORDS[:2])


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_limit_is_lowered_by_what_was_made(name: str) -> None:
    second = Engine("second")
    body = STREAM[:-1] + f',"{name}":20}}'.encode()
    async with World(Engine("first", 3), second, rules=RULES, continues=True) as world:
        assert_one_answer(await world.stream(body), "up1/real")
    assert getattr(second.asked[0], name) == 17


ONE_MORE = b'{"index":0,"id":"t1","type":"function","function":{"name":"f","arguments":"{"}}'


@pytest.mark.parametrize(
    ("further", "said", "why"),
    [
        (b'"n":2', None, None),
        (b'"logprobs":true', None, None),
        (b'"response_format":{"type":"json_object"}', None, None),
        (b'"guided_json":{}', None, None),
        (b"", b'"tool_calls":[' + ONE_MORE + b"]", "it had begun with tool_calls"),
        (b"", b'"reasoning_content":"Hm"', "it had begun with reasoning_content"),
    ],
)
async def test_what_no_engine_can_go_on_with_exactly_stays_broken(
    further: bytes, said: bytes | None, why: str | None
) -> None:
    async def dying(peer: Peer) -> None:
        await peer.stream_head()
        await peer.chunk(token("a"))
        if said:
            await peer.chunk(b'data: {"choices":[{"index":0,"delta":{' + said + b"}}]}\n\n")
        await reset(peer)

    second = Engine("second")
    body = STREAM[:-1] + b"," + further + b"}" if further else STREAM
    async with World(dying, second, rules=RULES, continues=True) as world:
        response = await world.stream(body)
        assert not response.complete
        assert b'"code":"upstream_broken"' in response.body
    assert second.asked == []
    last = world.outcomes[0].decisions[-1].said
    assert why is None or last == f"up0/real broke off and nobody goes on: {why}"


@pytest.mark.parametrize(
    ("rules", "continues"), [(AgentRules(), True), (RULES, False)], ids=["by default", "engines that cannot"]
)
async def test_without_leave_nothing_is_continued(rules: AgentRules, continues: bool) -> None:
    first, second = Engine("first", 2), Engine("second")
    async with World(first, second, rules=rules, continues=continues) as world:
        response = await world.stream()
        assert not response.complete
        error = chunks(response)[-1].error
        assert error is not None
        assert (error["code"], error["target"]) == ("upstream_broken", "up0/real")
        assert isinstance(error["relayed_tokens"], int)
        assert error["relayed_tokens"] >= 1
    assert second.asked == []


async def test_text_that_is_all_there_needs_nobody_to_go_on() -> None:
    async def hurried(peer: Peer) -> None:
        engine = Engine("first")
        await peer.stream_head()
        for event in (engine._event({"content": "all"}), engine._event({}, "stop")):
            await peer.chunk(event)
        await reset(peer)

    second = Engine("second")
    async with World(hurried, second, rules=RULES, continues=True) as world:
        response = await world.stream()
        assert response.complete
        assert b"[DONE]" not in response.body
    assert second.asked == []
    assert world.outcomes[0].error_code is None


async def test_an_empty_attempt_budget_leaves_a_broken_stream_broken() -> None:
    second = Engine("second")
    async with World(Engine("first", 2), second, rules=RULES, continues=True) as world:
        responses = await asyncio.gather(*[world.stream() for _ in range(12)])
        whole = [response for response in responses if response.complete]
        assert len(whole) == len(second.asked) == 10
    broken = [outcome for outcome in world.outcomes if outcome.error_code == "upstream_broken"]
    assert len(broken) == 2
    assert all(each.decisions[-1].said.endswith("there is no leave for another attempt") for each in broken)


async def test_a_client_is_kept_company_while_another_upstream_thinks() -> None:
    second = Engine("second")

    async def thinking(peer: Peer) -> None:
        await asyncio.sleep(40)
        await second(peer)

    async with World(Engine("first", 2), thinking, rules=RULES, continues=True) as world:
        response = await world.stream()
        assert_one_answer(response, "up1/real")
        assert response.body.count(b": keep-alive\n\n") == 2


async def test_a_deadline_that_passes_during_the_switch_is_told() -> None:
    async with World(Engine("first", 2), silence, rules=RULES, continues=True) as world:
        response = await world.stream(headers="X-Headgate-Deadline: 5\r\n")
        assert not response.complete
        assert b'"code":"deadline_exceeded"' in response.body
    assert world.outcomes[0].duration_s == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("abort", ["stops", "continues", "unknown"])
@pytest.mark.parametrize("after_head", [False, True])
async def test_a_client_that_leaves_during_the_switch_leaves_nothing_behind(abort: AbortRule, after_head: bool) -> None:
    closed = asyncio.Event()

    async def hanging(peer: Peer) -> None:
        if after_head:
            await peer.stream_head()
        await peer.gone()
        closed.set()

    async with World(Engine("first", 2), hanging, rules=RULES, continues=True, abort=abort) as world:
        reader, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        await reader.readuntil(b" two")
        await asyncio.sleep(1.0)
        assert len(world.upstreams[1].requests) == 1
        writer.close()
        await asyncio.wait_for(closed.wait(), 100)
    (outcome,) = world.outcomes
    assert outcome.client_gone
    assert [each.role for each in outcome.attempts] == ["first", "retry"]
    assert all(each.usage is not None for each in outcome.attempts)


async def test_a_gate_that_stops_during_the_switch_says_so() -> None:
    async with World(Engine("first", 2), silence, rules=RULES, continues=True) as world:
        reader, writer = await world.connect()
        writer.write(head(STREAM, path="/v1/chat/completions") + STREAM)
        await reader.readuntil(b" two")
        await asyncio.sleep(1.0)
        await world.pipeline.drain(0.0)
        assert b"shutting_down" in await reader.read()
    assert world.outcomes[0].error_code == "shutting_down"
