"""The fields of a provider: an account at a vendor, an engine of one's own, or a simulation.

Loopback and private addresses need no flag: an address stands here because the operator wrote it, and no request can
name another. A key belongs to its `base_url`; an engine that has no public address needs one written out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pricing.gpu import GpuRate
from proxy.config.values import Headers, HttpAddress, Name, Seconds, Share, StatusShares, Switch, Text, Usd, usd_nanos
from proxy.providers.engines import ENGINES
from proxy.secret import Secret
from proxy.types import AbortRule

ENGINE_NAMES = tuple(sorted(name for name in ENGINES if name != "simulated"))  # that one is a kind of its own


class Block(BaseModel):
    """Frozen, strict, without unknown keys; its errors hold no input."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class Paced(Block):
    """Rate limits, of whatever the block is about."""

    rpm: int | None = Field(default=None, ge=1, le=10**9, description="Requests a minute.")
    tpm: int | None = Field(default=None, ge=1, le=10**12, description="Tokens a minute, of all classes.")
    concurrency: int | None = Field(default=None, ge=1, le=10**6, description="At the same time.")


class Known(Paced):
    """What a model's maker says of it. Holds are as large as what is not known allows."""

    context_tokens: int | None = Field(default=None, ge=1, le=10**8, description="Its context window.")
    output_tokens_max: int | None = Field(default=None, ge=1, le=10**8, description="Its longest answer.")
    reasoning_tokens_max: int = Field(
        default=0, ge=0, le=10**8, description="Its longest thinking, where that does not count in the output limit."
    )


def _known_engine(name: str) -> str:
    if name not in ENGINE_NAMES:
        raise ValueError(f"Input should be one of {', '.join(ENGINE_NAMES)}")
    return name


EngineName = Annotated[Text, AfterValidator(_known_engine)]


class Gpu(Block):
    """What an engine of one's own costs: its time, not its tokens."""

    usd_per_hour: Usd = Field(description="What one GPU costs an hour, in USD.")
    gpus: int = Field(default=1, ge=1, le=10_000, description="How many it runs on.")
    idle: Literal["ops", "spread"] = Field(
        default="ops", description="Who pays while nothing runs: the operator, or `spread` over requests."
    )

    @property
    def rate(self) -> GpuRate:
        return GpuRate(usd_nanos(self.usd_per_hour), self.gpus, spread_idle=self.idle == "spread")


def _health(path: str) -> str:
    if path not in ("auto", "off") and not re.fullmatch(r"/[!-~]{1,255}", path):
        raise ValueError("Input should be auto, off, or a path that begins with /")
    return path


HealthPath = Annotated[Text, AfterValidator(_health)]


class OpenAIProvider(Paced):
    """Anything that speaks OpenAI's dialect."""

    kind: Literal["openai"] = Field(description="An OpenAI-compatible vendor or engine.")
    engine: EngineName = Field(default="openai", description="What answers there; decides the flags below.")
    api_key: Secret | None = Field(default=None, description="Its credential; sent to `base_url` and nowhere else.")
    base_url: HttpAddress = Field(default="", description="Its address up to `/v1`; by default the vendor's own.")
    api_version: Text | None = Field(
        default=None, pattern=r"^[0-9A-Za-z.-]{1,32}$", description="`api-version` of Azure."
    )
    headers: Headers = Field(default={}, description="Further headers of each request, such as an organisation.")
    abort: AbortRule | None = Field(default=None, description="Whether closing a connection stops the bill; by engine.")
    stream_usage: Switch | None = Field(
        default=None, description="It understands `stream_options.include_usage`; by engine."
    )
    price_provider: Name | None = Field(default=None, description="The price book's name for it; by engine.")
    gpu: Gpu | None = Field(default=None, description="It runs on GPUs of your own; calls pay for their time.")
    traceparent: Switch = Field(default=False, description="It is told the trace id (W3C `traceparent`).")
    deadline_header: Switch | None = Field(default=None, description="It is told how much time is left; by engine.")
    adaptive: Switch | None = Field(
        default=None, description="How many calls run there at the same time is learned; by default once it is crowded."
    )
    health: HealthPath = Field(
        default="auto", description="A path beside `/v1` that is free and says whether it is well, or `off`; by engine."
    )
    health_checks: Switch = Field(default=False, description="Its health is asked for also while all is well.")
    prompt_cache: Literal["off", "on", "retain"] = Field(
        default="on",
        description="Hints for its prompt cache, where it is known to take them; `retain`: kept for as long as it can.",
    )
    prefix_cache: Switch | None = Field(
        default=None, description="It keeps the prompts it has read, so a run's calls had better stay there; by engine."
    )
    kv_tokens: int | None = Field(
        default=None, ge=1_024, le=10**9, description="Tokens of prompts that its memory holds (the KV cache)."
    )
    connect_timeout_s: float = Field(default=2.0, gt=0, le=10, description="Longest wait for a connection.")
    failure_domain: Name | None = Field(
        default=None, description="What fails together with it; by default only itself."
    )

    @model_validator(mode="before")
    @classmethod
    def _vendor_address(cls, values: object) -> object:
        if not isinstance(values, dict) or values.get("base_url") is not None:
            return values
        name = values.get("engine", "openai")
        engine = ENGINES.get(name) if isinstance(name, str) else None
        others = {field: value for field, value in values.items() if field != "base_url"}
        return {**others, "base_url": engine.base_url} if engine and engine.base_url else others

    @model_validator(mode="after")
    def _address_and_key(self) -> OpenAIProvider:
        if not self.base_url:
            raise ValueError(f"base_url is needed: engine {self.engine} has no address of its own")
        if self.base_url == ENGINES[self.engine].base_url and not self.api_key:
            raise ValueError(f"api_key is needed for {self.base_url}")
        return self


class Spread(Block):
    """A log-normal distribution."""

    median: float = Field(gt=0, le=1e6, description="Half of all values are below it.")
    sigma: float = Field(
        default=0.5, ge=0, le=5, description="Standard deviation of the logarithm; 0: always the median."
    )


class SimulatedProvider(Paced):
    """An upstream inside the gate: no key, no network, the same seed the same answers."""

    kind: Literal["simulated"] = Field(description="Made-up answers with made-up faults.")
    seed: int = Field(default=1, ge=0, lt=2**63, description="Same seed, same behaviour.")
    first_token_s: Spread = Field(default=Spread(median=0.25, sigma=0.5), description="Time to the first token.")
    token_s: Spread = Field(default=Spread(median=0.02, sigma=0.3), description="Time between two tokens.")
    output_tokens: Spread = Field(default=Spread(median=120, sigma=0.6), description="Length of an answer.")
    stall_share: Share = Field(default=0.0, description="Share of streams that stop for `stall_s` once.")
    stall_s: Seconds = Field(default=10.0, description="How long a stalled stream says nothing.")
    error_share: StatusShares = Field(default={}, description="Share of calls answered with each error status.")
    cut_share: Share = Field(default=0.0, description="Share of streams that break off.")
    gpu: Gpu | None = Field(default=None, description="It runs on GPUs of your own; calls pay for their time.")
    failure_domain: Name | None = Field(
        default=None, description="What fails together with it; by default only itself."
    )


Provider = Annotated[OpenAIProvider | SimulatedProvider, Field(discriminator="kind")]
KINDS: Mapping[str, type[Block]] = {"openai": OpenAIProvider, "simulated": SimulatedProvider}
