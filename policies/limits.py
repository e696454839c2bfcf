"""What an account may spend, and the words in which accounts answer: holds, refusals, postings, standings.

A limit is a unit over a window. Everything is an integer: money in nano-dollars, the rest counted. Which limits an
account has is the rulebook's word; whether they admit a call is decided by `policies.accounts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, Protocol

from msgspec import Raw, Struct, msgpack

from policies.windows import zone
from proxy.holds import Left
from proxy.types import Charge, Per, Period, Unit

HoldMode = Literal["estimated", "strict"]
Reason = Literal["spent", "held", "floor", "overrun", "lowered", "cache_only", "queue"]

RETRY_HELD_S: Final = 1.0  # live holds end at any moment


class Limit(Struct, frozen=True):
    """`per: run` is the total of each run below the account that carries the limit (or that is it)."""

    unit: Unit
    amount: int
    per: Per = "total"
    time_zone: str = "UTC"
    hold: HoldMode = "estimated"
    soft: bool = False  # dollars only: holds what a call usually costs, and extends while it streams

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise ValueError(f"A limit of {self.amount} {self.unit} is negative.")
        if self.unit == "concurrency" and self.per not in ("total", "run"):
            raise ValueError("A limit on concurrency has no window; leave `per` out, or say `per: run`.")
        if self.soft and self.unit != "usd":
            raise ValueError("Only limits in usd can be soft.")
        zone(self.time_zone)


class Rulebook(Protocol):
    """Immutable: a reload makes another."""

    def limits(self, account: str) -> tuple[Limit, ...]: ...


class LimitsByName(Struct, frozen=True):
    """A rulebook: limits by the account's name, or else by its kind (the part before the colon)."""

    named: Mapping[str, tuple[Limit, ...]] = {}
    by_kind: Mapping[str, tuple[Limit, ...]] = {}

    def limits(self, account: str) -> tuple[Limit, ...]:
        found = self.named.get(account)
        return self.by_kind.get(account.partition(":")[0], ()) if found is None else found


class Instant(Struct, frozen=True):
    now: float  # monotonic seconds: how long a hold lives
    wall: float  # seconds since 1970: which window is open


def index(limit: Limit) -> int:
    """Where the figure that a limit looks at stands in `Amounts.by_index`."""
    return 5 if limit.soft else ("usd", "tokens", "requests", "steps", "concurrency").index(limit.unit)


class Totals(Struct, frozen=True):
    """What has been counted in one period; holds are not part of it."""

    spent: int = 0
    overrun: int = 0
    unresolved: int = 0  # money whose fate a crash left unknown: counted as spent until someone resolves it
    granted: int = 0  # top-ups of this period
    forgiven: int = 0  # the overrun there was at the last top-up: it no longer blocks


class Standing(Struct, frozen=True):
    """One limit as it stands."""

    period: Period
    limit: int  # top-ups included
    totals: Totals
    held: int
    resets_wall: float | None
    pace: int = 0  # tenths: how hard it bears on the choice of targets
    felt: int = 0  # thousandths: what the ladder goes by


class Shortfall(Struct, frozen=True):
    """One limit that stands in the way."""

    period: Period
    limit: int
    spent: int  # overrun and unresolved included
    held: int
    needed: int
    resets_wall: float | None
    reason: Reason


class Refusal(Struct, frozen=True):
    """Nothing was taken from any account."""

    shortfalls: tuple[Shortfall, ...]
    wall: float

    @property
    def only_held(self) -> bool:
        """Waiting can help: nothing but live holds stands in the way."""
        return all(shortfall.reason == "held" for shortfall in self.shortfalls)

    @property
    def retry_after_s(self) -> float | None:
        """Until every limit that refused may admit again; None: one of them never resets."""
        waits = [self._wait_s(shortfall) for shortfall in self.shortfalls]
        lengths = [wait for wait in waits if wait is not None]
        return max(lengths, default=0.0) if len(lengths) == len(waits) else None

    @property
    def status(self) -> int:
        return 402 if self.retry_after_s is None else 429

    def _wait_s(self, shortfall: Shortfall) -> float | None:
        if shortfall.reason == "held":
            return RETRY_HELD_S
        return None if shortfall.resets_wall is None else max(0.0, shortfall.resets_wall - self.wall)


class Crossing(Struct, frozen=True):
    """A share of a limit that was reached, told once a window."""

    period: Period
    percent: int


class Posting(Struct, frozen=True):
    charges: tuple[Charge, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    overruns: tuple[Charge, ...] = ()  # those of the charges that had no room for all of it


NO_DEMANDS: Final = Left()


def demands(limits: Iterable[Limit]) -> Left:
    """How the limits that a path meets want a call held; what they have free is not known here."""
    met = tuple(limits)
    return Left(
        strict=any(limit.hold == "strict" for limit in met),
        hard=any(limit.unit == "usd" and not limit.soft for limit in met),
        soft=any(limit.soft for limit in met),
        tokens=any(limit.unit == "tokens" for limit in met),
    )


def tightest(limits: Iterable[Limit]) -> dict[tuple[Unit, Per], Limit]:
    """One limit for each unit and window. Two for the same are a mistake; then the smaller counts."""
    found: dict[tuple[Unit, Per], Limit] = {}
    for limit in limits:
        other = found.get((limit.unit, limit.per))
        if other is None or limit.amount < other.amount:
            found[limit.unit, limit.per] = limit
    return found


def name_of(period: Period) -> Raw:
    """As journals have it, encoded once and not with each hold."""
    return Raw(msgpack.encode((period.account, period.unit, period.per, period.id, period.carrier)))
