"""What programs do with the LiteLLM SDK when its `api_base` is a gate: the `openai/` prefix, whole and streamed."""

from __future__ import annotations

from typing import Any

import litellm

HELLO: Any = [{"role": "user", "content": "Hello"}]


def completion(base_url: str, api_key: str) -> Any:
    reply: Any = litellm.completion(model="openai/chat", messages=HELLO, api_base=base_url, api_key=api_key)
    return {"content": reply.choices[0].message.content, "usage": _usage(reply)}


def completion_stream(base_url: str, api_key: str) -> Any:
    stream: Any = litellm.completion(
        model="openai/chat",
        messages=HELLO,
        api_base=base_url,
        api_key=api_key,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    return {"content": _text(chunks), "usage": _usage(chunks[-1])}


async def async_completion(base_url: str, api_key: str) -> Any:
    reply: Any = await litellm.acompletion(model="openai/chat", messages=HELLO, api_base=base_url, api_key=api_key)
    return {"content": reply.choices[0].message.content, "usage": _usage(reply)}


async def async_completion_stream(base_url: str, api_key: str) -> Any:
    stream: Any = await litellm.acompletion(
        model="openai/chat", messages=HELLO, api_base=base_url, api_key=api_key, stream=True
    )
    return {"content": _text([chunk async for chunk in stream])}


def session(base_url: str, api_key: str) -> Any:
    """A LiteLLM user's session header names the run."""
    reply: Any = litellm.completion(
        model="openai/chat",
        messages=HELLO,
        api_base=base_url,
        api_key=api_key,
        extra_headers={"x-litellm-session-id": "litellm-session"},
    )
    return {"content": reply.choices[0].message.content}


def embedding(base_url: str, api_key: str) -> Any:
    reply: Any = litellm.embedding(model="openai/embed", input=["one"], api_base=base_url, api_key=api_key)
    return {"vector": reply.data[0]["embedding"], "tokens": reply.usage.prompt_tokens}


def unknown_model(base_url: str, api_key: str) -> Any:
    return litellm.completion(model="openai/no-such-model", messages=HELLO, api_base=base_url, api_key=api_key).json()


def busy(base_url: str, api_key: str) -> Any:
    return litellm.completion(
        model="openai/busy", messages=HELLO, api_base=base_url, api_key=api_key, num_retries=0
    ).json()


def _text(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def _usage(reply: Any) -> list[int]:
    return [reply.usage.prompt_tokens, reply.usage.completion_tokens]
