"""Engines of one's own: one meter for each, whatever is configured above it, and its time in the books.

A meter belongs to a provider and outlives configurations, so that a reload loses neither the requests that run nor the
time in which none did. Workers have meters, too, all over one count; the process that owns the books alone books. Once
an hour, when its price changes and at a clean stop its stretch becomes an event of the ledger: what the time cost, what
calls were charged of it, and the idle rest, which the account `ops` pays. How the time is shared is decided by
`pricing.gpu`. While the gate does not run nothing is written: nobody saw the engine then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol

from msgspec import Struct

from pricing.gpu import HOUR_S, GpuAccount, GpuMeter, GpuRate
from proxy.clock import Clock
from proxy.money.shared_board import Boards, OwnBoards

KIND: Final = "gpu"
OPS: Final = "ops"
EVERY_S: Final = 10.0  # how old the metrics may be

Tell = Callable[[str, Literal["info", "warning", "error"], Mapping[str, str | int]], None]  # event, level, fields


class Events(Protocol):
    """The ledger, as far as it keeps what is no call."""

    def append_event(self, kind: str, subject: str, body: object) -> None: ...


class Counters(Protocol):
    def gpu_time(self, provider: str, *, elapsed_usd_nanos: int, charged_usd_nanos: int) -> None:
        """What has been added."""
        ...


class GpuBooked(Struct, frozen=True):
    """Body of `gpu`, whose subject is the provider. Seconds are decimal text."""

    account: str  # that pays for the idle part
    elapsed_s: str
    busy_s: str
    usd_nanos_per_s: int
    price_usd_nanos: int
    charged_usd_nanos: int
    idle_usd_nanos: int


class Gpus:
    """The meters by provider."""

    def __init__(self, clock: Clock, boards: Boards | None = None) -> None:
        """`boards`: shared with other processes."""
        self._clock = clock
        self._boards = OwnBoards() if boards is None else boards
        self._meters: dict[str, GpuMeter] = {}

    def __repr__(self) -> str:
        return f"Gpus({self._meters})"

    def meter(self, provider: str, rate: GpuRate) -> GpuMeter:
        """The one there is, or a new one. A new rate holds from `GpuBooks.use` on, in a worker from `use` on. Raises
        OSError where it is shared and cannot be."""
        meter = self._meters.get(provider)
        if meter is None:
            now = self._clock.now()
            meter = self._meters[provider] = GpuMeter(rate, now, self._boards.board(provider, now))
        return meter

    def use(self, rates: Mapping[str, GpuRate]) -> None:
        """In a worker, which books nothing: the engines of the configuration that is in force from now on."""
        for provider, meter in tuple(self._meters.items()):
            if provider in rates:
                meter.rate = rates[provider]
            else:
                self.forget(provider)

    def strike(self, worker: int) -> None:
        """It is dead: nothing of what it had sent runs any more."""
        self._boards.strike(worker, self._clock.now())

    def forget(self, provider: str) -> None:
        """Requests that still run there end at the meter they began at."""
        self._meters.pop(provider, None)


class GpuBooks:
    """`keep` is a task of the process that owns the ledger; `close` ends the last stretch."""

    def __init__(self, gpus: Gpus, clock: Clock, *, events: Events, counters: Counters, tell: Tell) -> None:
        self._gpus = gpus
        self._clock = clock
        self._events = events
        self._counters = counters
        self._tell = tell
        self._rates: Mapping[str, GpuRate] = {}
        self._counted: dict[str, tuple[int, int]] = {}  # of the present stretch, price and charges
        self._booked_at = clock.now()

    def __repr__(self) -> str:
        return f"GpuBooks({self._rates})"

    def use(self, rates: Mapping[str, GpuRate]) -> None:
        """The engines of the configuration that is in force from now on."""
        for provider, rate in self._rates.items():
            if rates.get(provider) != rate:
                self._book(provider, rates.get(provider, rate))
            if provider not in rates:
                self._gpus.forget(provider)
        now = self._clock.now()
        for provider, rate in rates.items():
            if provider not in self._rates:  # its meter may have been made for a configuration that was then refused
                self._gpus.meter(provider, rate).book(now, rate)
        self._rates = dict(rates)

    async def keep(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            now = self._clock.now()
            if now - self._booked_at >= HOUR_S:
                self.book()
            for provider, rate in self._rates.items():
                self._count(provider, self._gpus.meter(provider, rate).stretch(now))

    def book(self) -> None:
        self._booked_at = self._clock.now()
        for provider, rate in self._rates.items():
            self._book(provider, rate)

    def _book(self, provider: str, rate: GpuRate) -> None:
        meter = self._gpus.meter(provider, rate)
        per_s = meter.rate.usd_nanos_per_s
        account = meter.book(self._clock.now(), rate)
        self._count(provider, account)
        del self._counted[provider]
        body = GpuBooked(
            OPS,
            f"{account.elapsed_s:.6f}",
            f"{account.busy_s:.6f}",
            per_s,
            price_usd_nanos=account.price_usd_nanos,
            charged_usd_nanos=account.charged_usd_nanos,
            idle_usd_nanos=account.idle_usd_nanos,
        )
        self._events.append_event(KIND, provider, body)
        if account.overcharged:
            charged = {"charged_usd_nanos": account.charged_usd_nanos, "price_usd_nanos": account.price_usd_nanos}
            self._tell("gpu overcharged", "error", {"provider": provider, **charged})

    def _count(self, provider: str, account: GpuAccount) -> None:
        price, charged = self._counted.get(provider, (0, 0))
        self._counted[provider] = account.price_usd_nanos, account.charged_usd_nanos
        self._counters.gpu_time(
            provider,
            elapsed_usd_nanos=account.price_usd_nanos - price,
            charged_usd_nanos=account.charged_usd_nanos - charged,
        )
