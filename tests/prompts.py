"""Calls with prompts of a wanted shape, and the providers that cache them, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec import structs

from pricing.prompt_caches import CacheRule
from proxy.dialects.openai_chat import OpenAI
from proxy.execution.purse import Purse
from proxy.execution.record import Record
from proxy.providers.openai_compatible import Account, OpenAICompatible
from proxy.providers.transport import HttpTransport
from proxy.types import Call, Endpoint, Identity, Target
from tests.build import call, target
from tests.money import WatchedBudgets
from tests.proxy.providers.calls import StillClock

Json = dict[str, object]

MARKERS = CacheRule(
    hosts=("v",),
    models=("*",),
    kind="markers",
    read=0.1,
    write_5m=1.25,
    write_1h=2.0,
    minimum_tokens=1_024,
    life_s=300,
    markers_max=4,
)
KEY = structs.replace(MARKERS, kind="key", write_5m=1.0, write_1h=None, markers_max=0)
TARGET = target("v/m")


def tool(name: str, about: str = "does it") -> Json:
    return {"type": "function", "function": {"name": name, "description": about}}


def parts(text: str) -> list[Json]:
    return [{"type": "text", "text": text}]


def asking(
    messages: Sequence[Json] | str,
    *,
    tools: Sequence[Json] = (),
    tokens: int = 8_000,
    run: str | None = "r",
    more: Json | None = None,
) -> Call:
    """A chat; of the responses endpoint where `more` holds its `input`."""
    endpoint: Endpoint = "responses" if more and "input" in more else "chat"
    body = {"model": "m", **({} if endpoint == "responses" else {"messages": messages}), **(more or {})}
    if tools:
        body["tools"] = list(tools)
    raw = json.dumps(body, separators=(",", ":")).encode()
    head = OpenAI().read(endpoint, raw, "application/json")
    made = call(head=head, raw=raw, endpoint=endpoint, identity=Identity(key_id="k", agent="a", run=run))
    return structs.replace(made, input_tokens_estimate=tokens)


def record_of(made: Call) -> Record:
    return Record(made, Purse(WatchedBudgets(StillClock()), made.id, (), 60.0))


def provider_of(*rules: CacheRule) -> OpenAICompatible:
    account = Account(base_url="http://v.test/v1", prompt_caches=rules)
    return OpenAICompatible("v", account, dialect=OpenAI(), transport=HttpTransport(), clock=StillClock())


def wanted(provider: OpenAICompatible, of: Target = TARGET) -> tuple[tuple[OpenAICompatible, Target], ...]:
    return ((provider, of),)
