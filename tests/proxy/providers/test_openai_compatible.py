from __future__ import annotations

import tomllib
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from msgspec import structs
from multidict import CIMultiDict

from proxy.dialects.openai_chat import OpenAI
from proxy.errors import ProxyError
from proxy.providers.openai_compatible import USER_AGENT, Account, OpenAICompatible
from proxy.providers.transport import HttpTransport
from proxy.telemetry.span import span_id
from proxy.types import Endpoint, Traits
from tests.proxy.providers.calls import StillClock, call, target

KEY = "sk-canary-0123456789abcdef"
CHAT = b'{"model":"gpt","messages":[],"temperature":1.10}'
STREAM = b'{"model":"gpt","messages":[],"stream":true}'
FORM = (
    b'--B42\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--B42\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--B42--\r\n'
)


def provider(account: Account | None = None) -> OpenAICompatible:
    return OpenAICompatible(
        "p", account or Account(api_key=KEY), dialect=OpenAI(), transport=HttpTransport(), clock=StillClock()
    )


# --- the request


def test_a_plain_call_becomes_the_clients_bytes_under_the_gates_own_headers() -> None:
    request = provider().request(call(CHAT), target())
    assert (request.method, request.url) == ("POST", "https://api.openai.com/v1/chat/completions")
    assert request.headers == {
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
    }
    assert request.body == b'{"model":"gpt-4o","messages":[],"temperature":1.10}'
    assert KEY not in repr(request)


def test_a_stream_asks_for_events() -> None:
    assert provider().request(call(STREAM), target()).headers["Accept"] == "text/event-stream"


def test_a_form_keeps_its_boundary_and_its_bytes_but_for_the_model() -> None:
    request = provider().request(call(FORM, "transcriptions", "multipart/form-data; boundary=B42"), target("whisper-2"))
    assert request.headers["Content-Type"] == "multipart/form-data; boundary=B42"
    assert request.headers["Accept"] == "*/*"
    assert request.body == FORM.replace(b"whisper-1", b"whisper-2")


def test_calls_of_one_kind_share_their_headers() -> None:
    made = provider()
    assert made.request(call(CHAT), target()).headers is made.request(call(CHAT), target()).headers


def test_further_headers_go_along_and_the_trace_only_if_it_was_wanted() -> None:
    account = Account(api_key=KEY, headers=(("OpenAI-Organization", "org-1"),), traceparent=True)
    headers = provider(account).request(call(CHAT), target()).headers
    assert headers["OpenAI-Organization"] == "org-1"
    assert headers["traceparent"] == f"00-{'a' * 32}-{span_id('c1', 'p/gpt-4o')}-01"
    assert "traceparent" not in provider().request(call(CHAT), target()).headers


async def test_the_time_that_is_left_is_told_to_another_gate_and_to_whom_the_operator_says() -> None:
    gate = {"base_url": "http://10.0.0.1:8080/v1", "api_key": KEY}
    late = structs.replace(call(CHAT), deadline=0.0, hops=2)
    for account, told in (
        (Account(engine="headgate", **gate), True),
        (Account(engine="headgate", deadline_header=False, **gate), False),
        (Account(engine="litellm", deadline_header=True, **gate), True),
        (Account(engine="litellm", **gate), False),
    ):
        headers = provider(account).request(late, target()).headers
        assert headers.get("X-Headgate-Deadline") == ("0.000" if told else None)
        assert headers.get("X-Headgate-Hops") == ("3" if told else None)


def test_an_engine_without_a_key_is_asked_without_one() -> None:
    account = Account(engine="vllm", base_url="http://10.0.0.1:8000/v1/")
    request = provider(account).request(call(CHAT), target())
    assert request.url == "http://10.0.0.1:8000/v1/chat/completions"
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    ("base_url", "version", "endpoint", "url"),
    [
        ("https://x.openai.azure.com", None, "chat", "/openai/v1/chat/completions"),
        ("https://x.openai.azure.com/openai/v1", None, "embeddings", "/openai/v1/embeddings"),
        (
            "https://x.openai.azure.com/openai",
            "2024-10-21",
            "chat",
            "/openai/deployments/my%2Fgpt%3A4/chat/completions?api-version=2024-10-21",
        ),
        ("https://x.openai.azure.com", "2025-04-01", "responses", "/openai/responses?api-version=2025-04-01"),
    ],
)
def test_azure_is_addressed_in_either_form_with_its_own_header(
    base_url: str, version: str | None, endpoint: Endpoint, url: str
) -> None:
    account = Account(engine="azure", base_url=base_url, api_key=KEY, api_version=version)
    body = b'{"model":"gpt","input":"x","messages":[]}'
    request = provider(account).request(call(body, endpoint), target("my/gpt:4"))
    assert request.url == "https://x.openai.azure.com" + url
    assert request.headers["api-key"] == KEY
    assert "Authorization" not in request.headers


def test_an_endpoint_the_engine_does_not_have_is_said_before_anything_is_sent() -> None:
    with pytest.raises(ProxyError) as caught:
        provider().request(call(b'{"model":"gpt","query":"q","documents":[]}', "rerank"), target())
    assert (caught.value.code, caught.value.sent) == ("unknown_path", False)
    assert "/rerank" in caught.value.message


@pytest.mark.parametrize(
    "account",
    [
        Account(engine="vllm"),
        Account(base_url="https://user:secret@x/v1"),
        Account(base_url="https://x/v1?key=1"),
        Account(base_url="file:///v1"),
        Account(api_key="a\r\nb"),
        Account(headers=(("X-A", "a\nb"),)),
        Account(headers=(("X A", "a"),)),
        Account(headers=(("Host", "elsewhere"),)),
    ],
)
def test_an_account_that_cannot_work_is_refused_when_it_is_made(account: Account) -> None:
    with pytest.raises(ValueError) as caught:
        provider(account)
    assert "secret" not in str(caught.value)


def test_its_name_to_upstreams_carries_the_version() -> None:
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text())["project"]
    assert f"{project['name']}/{project['version']}" == USER_AGENT


# --- what comes back


def test_clean_bytes_come_back_as_the_same_object() -> None:
    data = b'data: {"choices":[]}\n\n'
    assert provider().redact(data) is data


@pytest.mark.parametrize(
    "key", [KEY, "sk/canary+0123456789==", 'sk"canary\\0123456789', "sk canary 0123456789"], ids=str
)
def test_the_credential_is_masked_however_it_is_written(key: str) -> None:
    made = provider(Account(api_key=key))
    in_json = msgspec.json.encode(key)[1:-1]
    for text in (key.encode(), in_json, in_json.replace(b"/", b"\\/"), quote(key, safe="").encode()):
        assert made.redact(b"a " + text + b" b") == b"a " + b"*" * len(text) + b" b"


def test_further_headers_are_as_secret_as_the_key() -> None:
    made = provider(Account(headers=(("X-Token", "token-0123456789"),)))
    assert made.redact(b"token-0123456789") == b"*" * 16


def test_a_word_that_serves_as_key_of_a_local_engine_stays_a_word() -> None:
    account = Account(engine="ollama", base_url="http://127.0.0.1:11434/v1", api_key="ollama")
    assert provider(account).redact(b"ollama is a program") == b"ollama is a program"


def test_an_error_keeps_its_words_but_not_the_credential() -> None:
    body = b'{"error":{"message":"bad key %b","type":"t","param":null,"code":null}}' % KEY.encode()
    error = provider().failure(400, {}, body)
    assert (error.code, error.status) == ("upstream_rejected", 400)
    assert error.passed is not None
    assert KEY not in error.message and KEY.encode() not in error.passed.body


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_is_the_gates_own_trouble(status: int) -> None:
    error = provider().failure(status, {}, b'{"error":{"message":"Incorrect API key: sk-can***cdef"}}')
    assert (error.code, error.status, error.passed) == ("upstream_auth", 502, None)
    assert "sk-" not in error.message


def test_a_redirect_is_named_as_one() -> None:
    assert provider().failure(307, {"Location": "http://evil/"}, b"").code == "unexpected_redirect"


def test_a_refusal_for_load_says_how_long() -> None:
    error = provider().failure(429, CIMultiDict({"retry-after": "Sun, 22 Nov 2026 13:00:09 GMT"}), b"{}")
    assert (error.code, error.retry_after_s) == ("upstream_overloaded", 9.0)
    assert provider().failure(503, {"x-ratelimit-reset-tokens": "20ms"}, b"").retry_after_s == pytest.approx(0.02)
    assert provider().failure(500, {}, b"").retry_after_s is None


@pytest.mark.parametrize(
    ("given", "limit", "sent"),
    [
        (b'"max_tokens":900', 100, {"max_tokens": None, "max_completion_tokens": 100}),
        (b'"max_completion_tokens":900', 100, {"max_completion_tokens": 100}),
        (b'"max_tokens":50', 100, {"max_tokens": None, "max_completion_tokens": 50}),
        (b'"max_completion_tokens":50,"max_tokens":900', 100, {"max_completion_tokens": 50, "max_tokens": 100}),
        (b'"max_tokens":null', 100, {"max_tokens": None, "max_completion_tokens": 100}),
        (b'"top_p":1', 100, {"max_completion_tokens": 100}),
    ],
)
def test_a_limit_of_the_gate_is_put_where_the_upstream_reads_it(
    given: bytes, limit: int, sent: dict[str, int | None]
) -> None:
    asked = call(b'{"model":"gpt","messages":[],' + given + b"}")
    of = structs.replace(target(), traits=Traits(output_limit_field="max_completion_tokens"))
    body = msgspec.json.decode(provider().request(asked, of, limit).body)
    names = ("max_tokens", "max_completion_tokens")
    assert {name: body[name] for name in names if name in body} == sent


# --- the question that costs nothing


@pytest.mark.parametrize(
    ("account", "url"),
    [
        (Account("openai", api_key=KEY), "https://api.openai.com/v1/models"),
        (Account("gemini", api_key=KEY), "https://generativelanguage.googleapis.com/v1beta/openai/models"),
        (Account("vllm", "http://gpu:8000/v1"), "http://gpu:8000/health"),
        (Account("sglang", "http://gateway/blue/v1/"), "http://gateway/blue/health"),
        (Account("ollama", "http://gpu:11434/v1"), "http://gpu:11434/v1/models"),
        (Account("litellm", "http://gate/v1"), "http://gate/v1/models"),
        (
            Account("azure", "https://x/openai", api_version="2024-10-21"),
            "https://x/openai/models?api-version=2024-10-21",
        ),
        (Account("vllm", "http://gpu/v1", health="/ready?deep=0"), "http://gpu/ready?deep=0"),
    ],
)
def test_its_health_is_asked_where_that_is_free(account: Account, url: str) -> None:
    request = provider(account).health()
    assert request is not None
    assert (request.method, request.url, request.body) == ("GET", url, b"")
    assert request.headers.get("Authorization") == (f"Bearer {KEY}" if account.api_key else None)


def test_who_is_not_to_be_asked_is_not() -> None:
    assert provider(Account("vllm", "http://gpu/v1", health="off")).health() is None
