from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy.clock import SystemClock, loop_time
from proxy.dialects.openai_chat import OpenAI
from proxy.errors import ProxyError
from proxy.providers.base import UpstreamRequest
from proxy.providers.openai_compatible import Account, OpenAICompatible
from proxy.providers.simulated import SIMULATED_PRICES, SimulatedTransport, Simulation
from proxy.providers.simulated_reply import SimulatedResponse
from proxy.types import Endpoint
from tests.proxy.providers.calls import StillClock, call, target

ASKED: dict[str, Any] = {"model": "sim-small", "messages": [{"role": "user", "content": "Plan a trip to Zürich."}]}
TOOL = {
    "type": "function",
    "function": {
        "name": "find_flights",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "bags": {"type": "integer", "minimum": 1}},
            "required": ["city", "bags"],
        },
    },
}


def upstream(**settings: Any) -> SimulatedTransport:
    return SimulatedTransport(Simulation(**settings), StillClock())


def request(path: str = "/chat/completions", **fields: Any) -> UpstreamRequest:
    return UpstreamRequest("POST", f"http://simulated.invalid/v1{path}", {}, json.dumps({**ASKED, **fields}).encode())


async def whole(response: SimulatedResponse, into: bytearray | None = None) -> bytes:
    came = bytearray() if into is None else into
    while piece := await response.read():
        came += piece
    return bytes(came)


async def plain(made: SimulatedTransport, path: str = "/chat/completions", **fields: Any) -> dict[str, Any]:
    response = await made.send(request(path, **fields))
    assert response.status == 200
    body: dict[str, Any] = json.loads(await whole(response))
    return body


def chunks(stream: bytes) -> list[dict[str, Any]]:
    events = stream.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


def text_of(stream: bytes) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks(stream) if chunk["choices"])


# --- what it says


async def test_the_same_request_has_the_same_answer_streamed_or_not() -> None:
    first, again = await plain(upstream()), await plain(upstream())
    streamed = text_of(await whole(await upstream().send(request(stream=True))))
    other = await plain(upstream(seed=2))
    said = first["choices"][0]["message"]["content"]
    assert said == again["choices"][0]["message"]["content"] == streamed
    assert said != other["choices"][0]["message"]["content"]


PATHS: list[tuple[Endpoint, str]] = [
    ("chat", "/chat/completions"),
    ("completions", "/completions"),
    ("responses", "/responses"),
]


@pytest.mark.parametrize(("endpoint", "path"), PATHS)
async def test_the_dialect_finds_in_a_stream_the_usage_that_was_billed(endpoint: Endpoint, path: str) -> None:
    made = upstream()
    asked = request(path, prompt="O", input="O", stream=True, stream_options={"include_usage": True})
    passage = OpenAI().passage(call(asked.body, endpoint), target("sim-small"))
    passage.feed(await whole(await made.send(asked)))
    passage.close()
    (bill,) = made.bill()
    assert passage.finished and passage.content and passage.usage is not None
    assert (passage.usage.input_total, passage.usage.output_total) == (bill.prompt_tokens, bill.completion_tokens)


@pytest.mark.parametrize(("endpoint", "path"), PATHS)
async def test_the_dialect_finds_in_a_reply_the_usage_that_was_billed(endpoint: Endpoint, path: str) -> None:
    made = upstream()
    asked = request(path, prompt="O", input="O")
    reply = OpenAI().reply(call(asked.body, endpoint), await whole(await made.send(asked)))
    (bill,) = made.bill()
    assert reply.usage is not None
    assert (reply.usage.input_total, reply.usage.output_total) == (bill.prompt_tokens, bill.completion_tokens)


async def test_usage_is_in_a_stream_only_if_it_was_asked_for() -> None:
    asked = chunks(await whole(await upstream().send(request(stream=True, stream_options={"include_usage": True}))))
    silent = chunks(await whole(await upstream().send(request(stream=True))))
    assert asked[-1]["choices"] == [] and asked[-1]["usage"]["completion_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in asked[:-1])
    assert not any("usage" in chunk for chunk in silent)
    assert len({chunk["id"] for chunk in asked}) == 1


async def test_a_limit_cuts_the_answer_and_says_so() -> None:
    body = await plain(upstream(), max_tokens=5)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 5


async def test_several_choices_are_given_and_billed() -> None:
    body = await plain(upstream(), n=3, max_tokens=4)
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in body["choices"]}) == 3
    assert body["usage"]["completion_tokens"] == 12
    streamed = chunks(await whole(await upstream().send(request(n=3, max_tokens=4, stream=True))))
    assert {choice["index"] for chunk in streamed for choice in chunk["choices"]} == {0, 1, 2}


async def test_an_offered_tool_is_called_with_arguments_that_fit_and_its_result_is_answered() -> None:
    made = upstream(tool_share=1.0)
    choice = (await plain(made, tools=[TOOL]))["choices"][0]
    called = choice["message"]["tool_calls"][0]
    arguments = json.loads(called["function"]["arguments"])
    assert (choice["finish_reason"], called["function"]["name"]) == ("tool_calls", "find_flights")
    assert isinstance(arguments["city"], str) and arguments["bags"] >= 1
    result = {"role": "tool", "tool_call_id": called["id"], "content": "3 flights"}
    turns = [*ASKED["messages"], choice["message"], result]
    answered = (await plain(made, tools=[TOOL], messages=turns))["choices"][0]
    assert (answered["finish_reason"], bool(answered["message"]["content"])) == ("stop", True)


async def test_a_streamed_tool_call_adds_up_to_the_plain_one() -> None:
    made = upstream(tool_share=1.0)
    fields: dict[str, Any] = {"tools": [TOOL], "tool_choice": "required"}
    expected = (await plain(made, **fields))["choices"][0]["message"]["tool_calls"][0]["function"]
    stream = chunks(await whole(await made.send(request(stream=True, **fields))))
    parts = [call for chunk in stream for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert parts[0]["id"] and parts[0]["function"]["name"] == expected["name"]
    assert "".join(part["function"]["arguments"] for part in parts) == expected["arguments"]
    assert not any("id" in part for part in parts[1:])


async def test_tools_that_may_not_be_called_are_not() -> None:
    body = await plain(upstream(tool_share=1.0), tools=[TOOL], tool_choice="none")
    assert body["choices"][0]["finish_reason"] == "stop"


async def test_structured_output_fits_its_schema() -> None:
    schema = {"type": "object", "properties": {"score": {"type": "integer"}, "why": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}}
    value = json.loads((await plain(upstream(), response_format=wanted))["choices"][0]["message"]["content"])
    assert isinstance(value["score"], int) and isinstance(value["why"], str)


@pytest.mark.parametrize(("given", "count"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2], [3]], 3)])
async def test_every_text_gets_its_vector(given: object, count: int) -> None:
    body = await plain(upstream(), "/embeddings", input=given, dimensions=8)
    assert [len(item["embedding"]) for item in body["data"]] == [8] * count
    assert sum(value**2 for value in body["data"][0]["embedding"]) == pytest.approx(1)
    coded = await plain(upstream(), "/embeddings", input=given, dimensions=8, encoding_format="base64")
    assert isinstance(coded["data"][0]["embedding"], str)


async def test_it_lists_its_models() -> None:
    response = await upstream().send(UpstreamRequest("GET", "http://simulated.invalid/v1/models", {}, b""))
    assert [model["id"] for model in json.loads(await whole(response))["data"]] == list(SIMULATED_PRICES)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/audio/speech", b"{}", 404), ("/chat/completions", b"{", 400), ("/chat/completions", b'{"model":1}', 400)],
)
async def test_what_it_does_not_understand_is_an_error_of_the_dialect(path: str, body: bytes, status: int) -> None:
    response = await upstream().send(UpstreamRequest("POST", f"http://simulated.invalid/v1{path}", {}, body))
    assert response.status == status
    assert set(json.loads(await whole(response))["error"]) == {"message", "type", "param", "code"}


async def test_behind_a_provider_it_is_an_upstream_like_any_other() -> None:
    made = upstream()
    account = Account(engine="simulated")
    provider = OpenAICompatible("sim", account, dialect=OpenAI(), transport=made, clock=StillClock())
    asked = call(b'{"model":"small","messages":[{"role":"user","content":"hi"}]}')
    response = await provider.transport.send(provider.request(asked, target("sim-small"), 60))
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert made.bill() == () and await response.read()
    assert await response.read() == b""
    assert [bill.model for bill in made.bill()] == ["sim-small"]


# --- when it says it, and what goes wrong


async def test_the_same_seed_lives_through_the_same_times() -> None:
    async def times() -> list[float]:
        loop = asyncio.get_running_loop()
        start, response = loop.time(), await upstream(stall_share=0.5, cut_share=0.0).send(request(stream=True))
        seen = []
        while await response.read():
            seen.append(round(loop.time() - start, 9))
        return seen

    first = await times()
    assert first == await times()
    assert len(set(first)) > 10 and first[-1] > 0.2


async def test_a_stream_begins_before_it_is_complete_and_a_plain_reply_does_not() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    await upstream().send(request(stream=True))
    assert loop.time() == start
    response = await upstream().send(request())
    took = loop.time() - start
    assert took > 0.5
    await whole(response)
    assert loop.time() - start == took


async def test_a_stall_is_a_silence_of_its_length() -> None:
    loop = asyncio.get_running_loop()
    response = await upstream(stall_share=1.0, stall_s=30.0).send(request(stream=True))
    longest, before = 0.0, loop.time()
    while await response.read():
        longest, before = max(longest, loop.time() - before), loop.time()
    assert 30 <= longest < 32


async def test_errors_come_in_their_shares_with_a_hint_and_without_a_bill() -> None:
    made = upstream(errors=((429, 0.25), (500, 0.25)), retry_after_s=2.5)
    seen = []
    for _ in range(200):
        response = await made.send(request(max_tokens=1))
        seen.append(response.status)
        if response.status == 429:
            assert response.headers["Retry-After"] == "2.5"
            assert json.loads(await whole(response))["error"]["code"] == "rate_limit_exceeded"
        else:
            await whole(response)
    assert 30 < seen.count(429) < 70 and 30 < seen.count(500) < 70
    assert len(made.bill()) == seen.count(200)


async def test_a_cut_stream_breaks_off_and_costs_what_came() -> None:
    made = upstream(cut_share=1.0)
    response = await made.send(request(stream=True))
    came = bytearray()
    with pytest.raises(ProxyError) as caught:
        await whole(response, came)
    assert caught.value.code == "upstream_broken" and b"[DONE]" not in came
    (bill,) = made.bill()
    assert (bill.cut, bill.cancelled) == (True, False)
    assert bill.completion_tokens == came.count(b'"delta":{"content"')


# --- what it costs


async def test_a_closed_stream_costs_what_was_due_until_then_and_no_more() -> None:
    made = upstream()
    response = await made.send(request(stream=True))
    read = b""
    for _ in range(5):
        read += await response.read()
    response.close()
    response.close()
    (bill,) = made.bill()
    assert (bill.cancelled, bill.completion_tokens) == (True, read.count(b'"delta":{"content"'))
    await asyncio.sleep(60)
    assert made.bill() == (bill,)


async def test_a_slow_reader_pays_for_what_was_made_meanwhile() -> None:
    made = upstream()
    response = await made.send(request(stream=True))
    await response.read()
    await asyncio.sleep(0.5)
    response.close()
    assert 10 < made.bill()[0].completion_tokens < 60


async def test_a_plain_call_that_is_given_up_costs_what_was_due() -> None:
    made = upstream()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await made.send(request())
    (bill,) = made.bill()
    assert bill.cancelled and 5 < bill.completion_tokens < 80


async def test_totals_add_up_the_bill() -> None:
    made = upstream()
    for model in ("a", "b", "a"):
        await plain(made, model=model, max_tokens=2)
    totals = made.totals()
    assert (totals["a"].answers, totals["a"].completion_tokens, totals["b"].answers) == (2, 4, 1)


async def test_a_conversation_that_grows_is_found_in_the_cache_of_its_model() -> None:
    made = upstream()
    long = [{"role": "user", "content": "word " * 400}]
    fresh = await plain(made, messages=long, max_tokens=1)
    grown = await plain(made, messages=[*long, {"role": "user", "content": "more"}], max_tokens=1)
    other = await plain(made, messages=long, max_tokens=1, model="sim-large")
    cached = [body["usage"]["prompt_tokens_details"]["cached_tokens"] for body in (fresh, grown, other)]
    assert cached[0] == cached[2] == 0
    assert 448 <= cached[1] < grown["usage"]["prompt_tokens"]


async def test_the_prefix_cache_is_bounded() -> None:
    made = upstream(cache_blocks=10)
    for number in range(50):
        await plain(made, messages=[{"role": "user", "content": f"{number} " * 500}], max_tokens=1)
    assert "10 blocks" in repr(made)


async def test_no_two_starts_name_a_request_alike_and_a_seed_repeats_them() -> None:
    async def names(seed: int) -> list[str]:
        clock = SystemClock(seed, now=loop_time)
        made = [SimulatedTransport(Simulation(), clock) for _ in range(2)]
        return [(await each.send(request())).headers["x-request-id"] for each in (*made, *made)]

    first, again, other = await names(1), await names(1), await names(2)
    assert first == again
    assert len({*first, *other}) == 8
