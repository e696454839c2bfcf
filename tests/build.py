"""Short ways to the nouns, for tests: everything has a default that works, a test names only what it is about."""

from __future__ import annotations

from msgspec import structs

from proxy.types import Amounts, Call, Endpoint, Head, Identity, Price, Target, Traits, Usage

PRICE = Price(
    id="test",
    input_uncached=1_000_000,  # 1 USD per million tokens
    output=2_000_000,
    input_cached=100_000,
    input_cache_write_5m=1_250_000,
    input_cache_write_1h=2_000_000,
    input_audio=1_000_000,
    input_image=1_000_000,
    reasoning=2_000_000,
    output_audio=2_000_000,
)


def target(id: str = "up/model", *, price: Price | None = PRICE, weight: float = 1.0, domain: str = "") -> Target:
    provider, _, model = id.partition("/")
    return Target(id=id, provider=provider, model=model, price=price, weight=weight, failure_domain=domain or provider)


def with_traits(of: Target, traits: Traits) -> Target:
    return structs.replace(of, traits=traits)


def call(
    model: str = "m",
    *,
    head: Head | None = None,
    identity: Identity | None = None,
    raw: bytes = b'{"model":"m","messages":[]}',
    deadline: float = 1600.0,
    endpoint: Endpoint = "chat",
) -> Call:
    return Call(
        id="c0ffee",
        endpoint=endpoint,
        dialect="openai",
        route=model,
        head=head or Head(model=model),
        raw=raw,
        identity=identity or Identity(key_id="k", agent="a"),
        arrived_at=1000.0,
        arrived_wall=1_700_000_000.0,
        deadline=deadline,
        input_tokens_estimate=100,
        trace_id="c0ffee",
    )


def usage(input: int = 10, output: int = 5) -> Usage:
    return Usage(input_uncached=input, output=output)


NOTHING = Amounts()
