"""Calls and clocks for the tests of providers."""

from __future__ import annotations

import asyncio
import random

from proxy.dialects.openai_chat import OpenAI
from proxy.types import Call, Endpoint, Identity, Target

WALL = 1_795_352_400.0  # Sun, 22 Nov 2026 13:00:00 GMT


class StillClock:
    """The loop's monotonic time under a wall clock that stands still."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return WALL

    def id(self) -> str:
        return "5" * 32

    def rng(self, purpose: str) -> random.Random:
        return random.Random(purpose)


def call(raw: bytes, endpoint: Endpoint = "chat", content_type: str = "application/json") -> Call:
    return Call(
        id="c1",
        endpoint=endpoint,
        dialect="openai",
        route="gpt",
        head=OpenAI().read(endpoint, raw, content_type),
        raw=raw,
        identity=Identity(key_id="k", agent="a"),
        arrived_at=0.0,
        arrived_wall=WALL,
        deadline=60.0,
        input_tokens_estimate=10,
        trace_id="a" * 32,
    )


def target(model: str = "gpt-4o", provider: str = "p") -> Target:
    return Target(id=f"{provider}/{model}", provider=provider, model=model, price=None)
