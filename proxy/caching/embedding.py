"""A question's vector, from the configured model for embeddings.

It is a side call of the call that asks, with its own hold and row, and comes soon or not at all: whatever goes wrong is
a miss and never an error of the call.
"""

from __future__ import annotations

from msgspec import DecodeError, Struct, json

from policies.semantic.lookup import Vector
from proxy.caching.library import unit
from proxy.caching.semantic_parts import Around, Watch
from proxy.errors import ProxyError
from proxy.types import Call


class _Ask(Struct, omit_defaults=True):
    model: str
    input: str
    dimensions: int | None = None


class _Embedding(Struct):
    embedding: list[float]


class _Embedded(Struct):
    data: list[_Embedding]


_EMBEDDED = json.Decoder(_Embedded)


async def embedded(call: Call, text: str, around: Around, watch: Watch) -> Vector | str:
    """Or why there is none."""
    rules = around.rules
    body = json.encode(_Ask(rules.model, text, rules.dimensions))
    reply = await around.side.ask(call, "embeddings", body, snapshot=around.snapshot, seconds=rules.timeout_s)
    if isinstance(reply, ProxyError):
        return f"its question has no embedding ({reply.code})"
    watch.spent("embedding", reply.cost_usd_nanos or 0)
    try:
        made = _EMBEDDED.decode(reply.body).data
    except DecodeError:
        made = []
    vector = unit(made[0].embedding) if len(made) == 1 else None
    return "the embedding of its question is no vector" if vector is None else vector
