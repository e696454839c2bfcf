"""What programs do with the OpenAI SDK, whole replies and streams, sync and async, and what they meet when it fails."""

from __future__ import annotations

import time
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

HELLO: Any = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello, Wörld 👋"}]


def _tool(name: str, **properties: str) -> Any:
    schema = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}


TOOLS = [_tool("weather", city="string"), _tool("add", first="integer", second="number")]


class Step(BaseModel):
    explanation: str
    output: float


class Solution(BaseModel):
    steps: list[Step]
    final: bool


# --- replies ------------------------------------------------------------------------------------------------------


def version(base_url: str, api_key: str) -> Any:
    return openai.__version__


def chat(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    return client.chat.completions.create(model="chat", messages=HELLO, reasoning_effort="low").model_dump()


def chat_stream(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    with client.chat.completions.create(model="chat", messages=HELLO, stream=True) as stream:
        return [chunk.model_dump() for chunk in stream]


def chat_stream_with_usage(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    options: Any = {"include_usage": True}
    with client.chat.completions.create(model="chat", messages=HELLO, stream=True, stream_options=options) as stream:
        return [chunk.model_dump() for chunk in stream]


async def async_chat(base_url: str, api_key: str) -> Any:
    async with AsyncOpenAI(base_url=base_url, api_key=api_key) as client:
        return (await client.chat.completions.create(model="chat", messages=HELLO)).model_dump()


async def async_chat_stream(base_url: str, api_key: str) -> Any:
    async with AsyncOpenAI(base_url=base_url, api_key=api_key) as client:
        stream = await client.chat.completions.create(model="chat", messages=HELLO, stream=True)
        return [chunk.model_dump() async for chunk in stream]


def tools(base_url: str, api_key: str) -> Any:
    """Both turns: the model calls two tools at once, is given their results, and answers."""
    client = OpenAI(base_url=base_url, api_key=api_key)
    first = client.chat.completions.create(model="chat", messages=HELLO, tools=TOOLS)
    message = first.choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "12.5"} for call in message.tool_calls or ()]
    messages: Any = [*HELLO, message.model_dump(exclude_none=True), *results]
    second = client.chat.completions.create(model="chat", messages=messages, tools=TOOLS)
    return [first.model_dump(), second.model_dump()]


def tools_woven(base_url: str, api_key: str) -> Any:
    """Interleaved pieces of two tool calls; the SDK's own assembly cannot, so programs do it by index."""
    client = OpenAI(base_url=base_url, api_key=api_key)
    stream = client.chat.completions.create(model="weave", messages=HELLO, tools=TOOLS, stream=True)
    pieces = [(piece.index, piece.function) for chunk in stream for piece in chunk.choices[0].delta.tool_calls or ()]
    whole = ["", ""]
    for index, function in pieces:
        whole[index] += (function and function.arguments) or ""
    return {"order": [index for index, _ in pieces], "arguments": whole}


def tools_stream(base_url: str, api_key: str) -> Any:
    """The SDK's own assembly of the pieces of two tool calls."""
    client = OpenAI(base_url=base_url, api_key=api_key)
    with client.chat.completions.stream(model="chat", messages=HELLO, tools=TOOLS) as stream:
        events = [event.type for event in stream]
        return {"events": events, "final": stream.get_final_completion().model_dump(mode="json")}


def one_tool_at_a_time(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    reply = client.chat.completions.create(model="chat", messages=HELLO, tools=TOOLS, parallel_tool_calls=False)
    return reply.model_dump()


def structured(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    reply = client.chat.completions.parse(model="chat", messages=HELLO, response_format=Solution)
    parsed = reply.choices[0].message.parsed
    assert isinstance(parsed, Solution)
    return parsed.model_dump()


def structured_stream(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    with client.chat.completions.stream(model="chat", messages=HELLO, response_format=Solution) as stream:
        parsed = stream.get_final_completion().choices[0].message.parsed
        assert isinstance(parsed, Solution)
        return parsed.model_dump()


def embeddings(base_url: str, api_key: str) -> Any:
    """The SDK asks for base64 by itself and unpacks it."""
    client = OpenAI(base_url=base_url, api_key=api_key)
    return client.embeddings.create(model="embed", input=["one", "two and two"]).model_dump()


def embeddings_as_floats(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    return client.embeddings.create(model="embed", input="one", encoding_format="float", dimensions=3).model_dump()


def completion(base_url: str, api_key: str) -> Any:
    return OpenAI(base_url=base_url, api_key=api_key).completions.create(model="write", prompt="Once").model_dump()


def completion_stream(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    stream = client.completions.create(model="write", prompt="Once", stream=True)
    return [chunk.model_dump() for chunk in stream]


def response(base_url: str, api_key: str) -> Any:
    reply = OpenAI(base_url=base_url, api_key=api_key).responses.create(model="respond", input="Hello")
    return {"text": reply.output_text, "whole": reply.model_dump()}


def response_stream(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    with client.responses.create(model="respond", input="Hello", stream=True) as stream:
        return [event.model_dump() for event in stream]


def models(base_url: str, api_key: str) -> Any:
    return sorted(model.id for model in OpenAI(base_url=base_url, api_key=api_key).models.list())


def one_model(base_url: str, api_key: str) -> Any:
    return OpenAI(base_url=base_url, api_key=api_key).models.retrieve("chat").id


def headers(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    reply = client.chat.completions.with_raw_response.create(model="chat", messages=HELLO)
    parsed = reply.parse()
    told = {name: value for name, value in reply.headers.items() if name.startswith("x-headgate-")}
    return {"request_id": parsed._request_id, "headgate": told, "names": sorted({*reply.headers})}


# --- refusals and retries -----------------------------------------------------------------------------------------


def _ask(base_url: str, api_key: str, model: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    reply = client.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    content = reply.parse().choices[0].message.content
    return {"content": content, "retries": reply.retries_taken, "headers": dict(reply.headers)}


def wrong_key(base_url: str, api_key: str) -> Any:
    return _ask(base_url, f"{api_key}-but-wrong", "chat")


def unknown_model(base_url: str, api_key: str) -> Any:
    return _ask(base_url, api_key, "no-such-model")


def upstream_lost_the_model(base_url: str, api_key: str) -> Any:
    return _ask(base_url, api_key, "missing")


def upstream_refuses_our_key(base_url: str, api_key: str) -> Any:
    return _ask(base_url, api_key, "denied")


def context_too_long(base_url: str, api_key: str) -> Any:
    return _ask(base_url, api_key, "context")


def busy(base_url: str, api_key: str) -> Any:
    return _ask(base_url, api_key, "busy")


def busy_twice(base_url: str, api_key: str) -> Any:
    return _ask(base_url, api_key, "busy-twice")


def busy_for_a_second(base_url: str, api_key: str) -> Any:
    return _ask(base_url, api_key, "busy-second")


def broken(base_url: str, api_key: str) -> Any:
    return _ask(base_url, api_key, "broken")


def too_large(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    messages: Any = [{"role": "user", "content": "x" * 2**21}]
    return client.chat.completions.create(model="chat", messages=messages).model_dump()


def wrong_type(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    return client.chat.completions.create(model="chat", messages=HELLO, extra_body={"stream": "yes"}).model_dump()


# --- endings ------------------------------------------------------------------------------------------------------


def leave_a_stream(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    with client.chat.completions.create(model="slow", messages=HELLO, stream=True) as stream:
        read = [next(stream).choices[0].delta.content for _ in range(3)]
    return {"read": read, "left_at": time.monotonic()}


async def leave_a_stream_async(base_url: str, api_key: str) -> Any:
    async with AsyncOpenAI(base_url=base_url, api_key=api_key) as client:
        stream = await client.chat.completions.create(model="slow", messages=HELLO, stream=True)
        read = []
        async for chunk in stream:
            read.append(chunk.choices[0].delta.content)
            if len(read) == 3:
                break
        await stream.close()
    return {"read": read, "left_at": time.monotonic()}


def give_up_waiting(base_url: str, api_key: str) -> Any:
    """A read timeout of the SDK: it leaves by itself, and retries are off."""
    client = OpenAI(base_url=base_url, api_key=api_key, timeout=0.5, max_retries=0)
    return client.chat.completions.create(model="late", messages=HELLO).model_dump()


def patient_for_each_piece(base_url: str, api_key: str) -> Any:
    """Two seconds of a stream under a timeout of one: it bounds each read, not their sum."""
    client = OpenAI(base_url=base_url, api_key=api_key, timeout=1.0, max_retries=0)
    with client.chat.completions.create(model="slow", messages=HELLO, stream=True) as stream:
        return [next(stream).choices[0].delta.content for _ in range(40)]


def _read_to_the_end(base_url: str, api_key: str, model: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    with client.chat.completions.create(model=model, messages=HELLO, stream=True) as stream:
        return [chunk.model_dump() for chunk in stream]


def cut_stream(base_url: str, api_key: str) -> Any:
    return _read_to_the_end(base_url, api_key, "cut")


def error_in_stream(base_url: str, api_key: str) -> Any:
    return _read_to_the_end(base_url, api_key, "fault")


def error_as_first_event(base_url: str, api_key: str) -> Any:
    return _read_to_the_end(base_url, api_key, "fault-first")
