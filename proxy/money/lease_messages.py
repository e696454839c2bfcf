"""What is said about one hold between a process that serves and the one that owns the accounts."""

from __future__ import annotations

from msgspec import Struct

from policies.leases import Terms, Wanted
from proxy.errors import ProxyError
from proxy.pressure import Pressure
from proxy.types import Amounts


class Asking(Struct, frozen=True, array_like=True, tag="ask"):
    """Lend what this call needs: `most`, or less where the money left pays less, down to `least`."""

    request: int
    id: str
    path: tuple[str, ...]
    most: Amounts
    least: Amounts
    ttl_s: float
    wanted: tuple[Wanted, ...] = ()
    waits: bool = True  # for the holds of others


class Feeling(Struct, frozen=True, array_like=True, tag="feel"):
    """How near the accounts of a path are to the end of a budget; leases that pay do not say it."""

    path: tuple[str, ...]


class Felt(Struct, frozen=True, array_like=True, tag="felt"):
    path: tuple[str, ...]
    pressure: Pressure


class Withdrawn(Struct, frozen=True, array_like=True, tag="withdraw"):
    """Whoever asked is gone."""

    request: int


class Granted(Struct, frozen=True, array_like=True, tag="grant"):
    request: int
    lent: tuple[Terms, ...]
    left: int | None  # as the decision saw it
    left_after: int | None
    pressure: Pressure


class Refused(Struct, frozen=True, array_like=True, tag="refuse"):
    request: int
    code: str
    message: str
    status: int
    retry_after_s: float | None
    details: dict[str, object]

    def error(self) -> ProxyError:
        return ProxyError(
            self.code, self.message, status=self.status, retry_after_s=self.retry_after_s, details=self.details
        )
