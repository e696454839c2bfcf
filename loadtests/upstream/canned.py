"""Bytes of OpenAI's dialect, prebuilt: whole replies, events of a stream, errors.

The functions put nonce, model and usage of a request into its reply; what an answer says is the caller's.
"""

from __future__ import annotations

import json

from .request import Request

PLAIN_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b"
ERROR_HEAD = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
ERROR = b'{"error":{"message":"%b","type":"server_error","param":null,"code":null}}'
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: %b\r\ntransfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
USAGE = b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}'
CHAT = (
    b'{"id":"chatcmpl-%b","object":"chat.completion","created":1700000000,"model":%b,"choices":[{"index":0,'
    b'"message":{"role":"assistant","content":%b},"finish_reason":"%b"}],%b,"system_fingerprint":"%b"}'
)
TEXT = (
    b'{"id":"cmpl-%b","object":"text_completion","created":1700000000,"model":%b,"choices":[{"index":0,'
    b'"text":%b,"finish_reason":"%b"}],%b,"system_fingerprint":"%b"}'
)
EVENT = (
    b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":1700000000,"model":%b,'
    b'"system_fingerprint":"%b","choices":%b%b}\n\n'
)
FIRST = b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]'
DELTA = b'[{"index":0,"delta":{"content":"%d "},"finish_reason":null}]'
SAID = b'[{"index":0,"delta":{"content":%b},"finish_reason":null}]'
STOP = b'[{"index":0,"delta":{},"finish_reason":"%b"}]'
SAID_TEXT = b'[{"index":0,"text":%b,"finish_reason":null}]'
STOP_TEXT = b'[{"index":0,"text":"","finish_reason":"%b"}]'
DONE = b"data: [DONE]\n\n"
MODELS = b'{"object":"list","data":[{"id":"bench","object":"model","created":1700000000,"owned_by":"loadtest"}]}'
HEALTH = b'{"status":"ok"}'


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def plain(nonce: bytes, body: bytes) -> bytes:
    return PLAIN_HEAD % (nonce, len(body), body)


def error(status: bytes, message: bytes, more: bytes = b"") -> bytes:
    body = ERROR % message
    return ERROR_HEAD % (status, more, len(body), body)


def usage(prompt: int, completion: int) -> bytes:
    return USAGE % (prompt, completion, prompt + completion)


def whole(request: Request, text: str, *, used: bytes, finish: bytes = b"stop") -> bytes:
    """The body of a reply to a chat or a completion."""
    form = TEXT if _is_text(request) else CHAT
    said = json.dumps(text).encode()
    return form % (request.nonce, request.model, said, finish, used, request.nonce)


def event(request: Request, choices: bytes, used: bytes = b"") -> bytes:
    if request.wants_usage:
        used = b"," + (used or b'"usage":null')
    return EVENT % (request.nonce, request.model, request.nonce, choices, used)


def said(request: Request, text: str) -> bytes:
    return event(request, (SAID_TEXT if _is_text(request) else SAID) % json.dumps(text).encode())


def stop(request: Request, reason: bytes = b"stop") -> bytes:
    return event(request, (STOP_TEXT if _is_text(request) else STOP) % reason)


def _is_text(request: Request) -> bool:
    return request.path.endswith(b"/completions") and not request.path.endswith(b"/chat/completions")
