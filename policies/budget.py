"""How much to hold for one attempt before it is sent: estimated input and all the output allowed, at the dearest price.

Limits over the holds are the store's; what an ended attempt really cost is `policies.settle`'s.
"""

from __future__ import annotations

from pricing.book import hold_usd_nanos
from proxy.types import Amounts, Call, Target

OUTPUT_TOKENS_DEFAULT = 4_096  # for a silent client of a model whose maximum is not known


def output_limit(call: Call, target: Target) -> int:
    """Output tokens one choice can produce at most: the client's word, else the model's maximum, else a usual one."""
    if call.endpoint in ("embeddings", "moderations", "rerank"):
        return 0
    stated = call.head.output_tokens_max
    known = target.traits.output_tokens_max
    if stated is not None:
        return stated if known is None else min(stated, known)
    return OUTPUT_TOKENS_DEFAULT if known is None else known


def hold(call: Call, target: Target) -> Amounts:
    output = output_limit(call, target) * call.head.choices
    tokens = call.input_tokens_estimate + output
    if target.price is None:
        return Amounts(usd_nanos=0, tokens=tokens)
    return Amounts(usd_nanos=hold_usd_nanos(target.price, call.input_tokens_estimate, output), tokens=tokens)


def path(call: Call) -> tuple[str, ...]:
    """The accounts a call draws on, from the top down; absent levels are skipped."""
    identity = call.identity
    levels = [f"key:{identity.key_id}", f"agent:{identity.agent}"]
    if identity.team is not None:
        levels.insert(0, f"team:{identity.team}")
    if identity.run is not None:
        levels.append(f"run:{identity.run}")
    return tuple(levels)
