"""What limits leave to a call, and what it keeps back of them."""

from __future__ import annotations

from msgspec import Struct

from proxy.types import Amounts


class Left(Struct, frozen=True):
    """What the limits of a path leave to one call, and how they want its hold to be sized."""

    usd_nanos: int | None = None  # the least that a limit in money has free; None: nothing limits money
    strict: bool = False  # one of them wants an upper bound of the input held
    hard: bool = False  # a limit in money wants all the output held that the call may produce
    soft: bool = False  # a limit in money wants what such calls usually produce
    tokens: bool = False  # there is a limit in tokens

    @property
    def metered(self) -> bool:
        return self.hard or self.soft or self.tokens


class Reservation(Struct, frozen=True):
    """What one call keeps back on every account of `path`, until it is posted, voided or expires."""

    id: str
    path: tuple[str, ...]
    amounts: Amounts
    expires_at: float
