"""What the scripted upstream says: OpenAI-compatible reply bodies and stream chunks, a function of the request alone.

A request that offers tools is answered with calls to them, arguments made from their schemas, until the last message is
a tool's; a request with a `json_schema` is answered with an instance of it; every other with a sentence. Streamed
arguments of tools are cut in the middle, and the model `weave` interleaves those of parallel calls, as some engines do.
"""

from __future__ import annotations

import array
import base64
import json
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

CREATED = 1_790_000_000


def whole(path: str, body: Json, number: int) -> Json:
    """The reply to a request that does not stream; `number` makes the ids."""
    match path:
        case "/v1/chat/completions":
            return chat(body, number)
        case "/v1/completions":
            return completion(body, number)
        case "/v1/embeddings":
            return embeddings(body)
        case _:
            return response(body, number)


def answer_message(body: Json) -> Json:
    """The assistant's message that ends the turn, or calls the tools offered."""
    messages = body["messages"]
    if body.get("tools") and messages[-1]["role"] != "tool":
        return {"role": "assistant", "content": None, "tool_calls": tool_calls(body)}
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema = wanted["json_schema"]["schema"]
        return {"role": "assistant", "content": json.dumps(instance(schema, schema, "value"))}
    return {"role": "assistant", "content": f"Turn {len(messages)}: {text_of(messages[-1])[:60]}"}


def tool_calls(body: Json) -> list[Json]:
    offered = body["tools"] if body.get("parallel_tool_calls", True) else body["tools"][:1]
    made = []
    for slot, tool in enumerate(offered):
        function = tool["function"]
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        arguments = json.dumps(instance(schema, schema, "value"))
        turn = len(body["messages"])
        call = {"name": function["name"], "arguments": arguments}
        made.append({"id": f"call_{turn}_{slot}", "type": "function", "function": call})
    return made


def instance(schema: Json, root: Json, name: str) -> object:
    """A value that satisfies `schema`: strings are their property's name, numbers are small."""
    if "$ref" in schema:
        return instance(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root, name)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {key: instance(inner, root, key) for key, inner in schema.get("properties", {}).items()}
        case "array":
            return [instance(schema["items"], root, name)]
        case "integer":
            return 2
        case "number":
            return 2.5
        case "boolean":
            return True
        case _:
            return f'{name} "ü"'  # an escape and a character of two bytes, so that arguments can be cut inside them


def text_of(message: Json) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def usage(body: Json, text: str) -> Json:
    """Token counts by rule: four bytes of request a token, one word of reply a token."""
    asked = body.get("messages") or body.get("prompt") or body.get("input")
    prompt = max(1, len(json.dumps(asked)) // 4)
    completion = len(text.split())
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def chat(body: Json, number: int) -> Json:
    message = answer_message(body)
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": CREATED,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": usage(body, json.dumps(message)),
    }


def chat_chunks(body: Json, number: int) -> Iterator[Json]:
    message = answer_message(body)
    calls = message.get("tool_calls") or []
    yield chat_chunk(body, number, {"role": "assistant", "content": None if calls else ""})
    for delta in tool_deltas(calls, woven=body["model"] == "weave"):
        yield chat_chunk(body, number, {"tool_calls": [delta]})
    for word in (message["content"] or "").split(" ") if not calls else ():
        yield chat_chunk(body, number, {"content": word + " "})
    yield chat_chunk(body, number, {}, "tool_calls" if calls else "stop")
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**chat_chunk(body, number, {}), "choices": [], "usage": usage(body, json.dumps(message))}


def tool_deltas(calls: list[Json], *, woven: bool) -> list[Json]:
    pieces: list[tuple[int, int, Json]] = []
    for slot, call in enumerate(calls):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        pieces.append((0, slot, {**call, "index": slot, "function": {"name": name, "arguments": ""}}))
        for start in range(0, len(arguments), 3):
            function = {"arguments": arguments[start : start + 3]}
            pieces.append((start + 1, slot, {"index": slot, "function": function}))
    if woven:
        pieces.sort(key=lambda piece: piece[:2])
    return [delta for _, _, delta in pieces]


def chat_chunk(body: Json, number: int, delta: Json, finish_reason: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": CREATED, "model": body["model"]}
    return {**head, "choices": [choice]}


def completion(body: Json, number: int) -> Json:
    text = f" and so said {body['prompt']}"
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    head = {"id": f"cmpl-{number}", "object": "text_completion", "created": CREATED, "model": body["model"]}
    return {**head, "choices": [choice], "usage": usage(body, text)}


def completion_chunks(body: Json, number: int) -> Iterator[Json]:
    whole = completion(body, number)
    yield {**whole, "usage": None}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**whole, "choices": []}


def embeddings(body: Json) -> Json:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    data = []
    for index, text in enumerate(texts):
        seed = len(json.dumps(text))
        vector = array.array("f", (1 / (seed + step) for step in range(body.get("dimensions", 8))))
        packed = base64.b64encode(vector.tobytes()).decode()
        as_asked = packed if body.get("encoding_format") == "base64" else vector.tolist()
        data.append({"object": "embedding", "index": index, "embedding": as_asked})
    spent = usage(body, "")
    return {
        "object": "list",
        "model": body["model"],
        "data": data,
        "usage": {"prompt_tokens": spent["prompt_tokens"], "total_tokens": spent["prompt_tokens"]},
    }


def response(body: Json, number: int) -> Json:
    """The Responses API."""
    text = f"Responding to: {body['input']}"
    spent = usage(body, text)
    content = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "status": "completed"}
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": CREATED,
        "model": body["model"],
        "status": "completed",
        "output": [{**message, "content": [content]}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": spent["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": spent["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": spent["total_tokens"],
        },
    }


def response_events(body: Json, number: int) -> Iterator[Json]:
    whole = response(body, number)
    unfinished = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "sequence_number": 0, "response": unfinished}
    where = {"item_id": f"msg_{number}", "output_index": 0, "content_index": 0, "logprobs": []}
    words = whole["output"][0]["content"][0]["text"].split(" ")
    for sequence, word in enumerate(words, 1):
        delta = {"delta": word + " ", "sequence_number": sequence}
        yield {"type": "response.output_text.delta", **where, **delta}
    yield {"type": "response.completed", "sequence_number": len(words) + 1, "response": whole}


def error(message: str, code: str, kind: str, param: str | None = None) -> Json:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
