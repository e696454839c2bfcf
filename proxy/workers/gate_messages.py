"""What is said about calls before a gate of runs, between a process that serves and the one that has the gates."""

from __future__ import annotations

from msgspec import Struct

from policies.gate_line import Ask
from proxy.errors import ProxyError


class Entering(Struct, frozen=True, array_like=True, tag="enter"):
    """A call asks to be let in, and can wait for `left_s`."""

    request: int
    pool: str
    ask: Ask
    left_s: float


class Unwanted(Struct, frozen=True, array_like=True, tag="unwanted"):
    """Whoever asked is gone, let in or not."""

    request: int


class Over(Struct, frozen=True, array_like=True, tag="over"):
    """The call has ended; or its run with it."""

    request: int
    input_tokens: int
    cached_tokens: int | None
    killed: bool = False


class LetIn(Struct, frozen=True, array_like=True, tag="let_in"):
    request: int
    said: str


class KeptOut(Struct, frozen=True, array_like=True, tag="kept_out"):
    request: int
    code: str
    message: str
    retry_after_s: float | None

    def error(self) -> ProxyError:
        return ProxyError(self.code, self.message, retry_after_s=self.retry_after_s)
