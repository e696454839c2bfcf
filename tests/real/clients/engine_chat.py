"""What a program asks of a real engine with the OpenAI SDK: a whole reply, a stream, and a stream that it leaves."""

from __future__ import annotations

from typing import Any

from openai import OpenAI

MODEL = "tiny"
HELLO: Any = [{"role": "user", "content": "Hi"}]
LONG = 6000  # tokens: minutes of work for this engine, unless it is stopped


def chat(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    reply = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=24, temperature=0)
    assert reply.usage is not None
    return {
        "content": reply.choices[0].message.content,
        "finish_reason": reply.choices[0].finish_reason,
        "tokens": [reply.usage.prompt_tokens, reply.usage.completion_tokens],
    }


def chat_stream(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=24, temperature=0, stream=True)
    choices = [chunk.choices[0] for chunk in stream]
    return {"pieces": [choice.delta.content for choice in choices], "finish_reason": choices[-1].finish_reason}


def leave(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key)
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=LONG, temperature=0, stream=True)
    with stream:
        return [next(stream).choices[0].delta.content for _ in range(10)]


def too_long(base_url: str, api_key: str) -> Any:
    client = OpenAI(base_url=base_url, api_key=api_key, max_retries=0)
    messages: Any = [{"role": "user", "content": "Hi " * 10_000}]
    return client.chat.completions.create(model=MODEL, messages=messages, max_tokens=8).model_dump()
