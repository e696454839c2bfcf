"""The block `shared`: a store through which several gates count rate limits together and find each other's answers."""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, model_validator

from proxy.config.providers import Block
from proxy.config.values import Name
from proxy.secret import Secret

SCHEMES: Final = ("redis://", "rediss://", "unix://")


class Shared(Block):
    """What several gates share; nothing without an address. Needs the extra `headgate[redis]`."""

    redis: Secret | None = Field(
        default=None, description="A Redis or Valkey: `redis://`, `rediss://` or `unix://`; it may hold a password."
    )
    gates: int = Field(
        default=1, ge=1, le=64, description="Gates that share it: what each takes for itself while it is out."
    )
    prefix: Name = Field(default="headgate", description="Of every key there; gates with the same one share.")
    timeout_ms: int = Field(default=50, ge=1, le=5_000, description="A call waits so long for it.")

    @model_validator(mode="after")
    def _address(self) -> Self:
        if self.redis is not None and not self.redis.reveal().startswith(SCHEMES):
            raise ValueError(f"redis is an address that begins with {', '.join(SCHEMES)}")
        return self

    @property
    def timeout_s(self) -> float:
        return self.timeout_ms / 1_000
