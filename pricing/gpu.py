"""What a request costs on a GPU of one's own: the hour's price, shared by time among the requests that run together.

An engine that serves n requests at an instant gives each an n-th of that instant. A request's occupancy is the integral
of dt / n(t) from its sending to the end of its reply (egalitarian processor sharing; Kleinrock, "Queueing Systems",
vol. 2, 4.4), so the shares of all requests add up to the engine's busy time, and nothing is free because it is local.
The time in which nothing ran is accounted apart: it belongs to whoever keeps the engine, or is spread over requests.
Money is integer nano-dollars, time is seconds of the caller's monotonic clock.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from msgspec import Struct

HOUR_S: Final = 3_600
SPREAD_MAX: Final = 3.0  # idle time makes a request at most so many times dearer
SPREAD_OVER_S: Final = 24.0 * HOUR_S


class GpuRate(Struct, frozen=True):
    """The price of one engine, however many GPUs it has."""

    usd_nanos_per_hour: int  # of one GPU
    gpus: int = 1
    spread_idle: bool = False  # idle time is charged to requests, not to the operator

    @property
    def usd_nanos_per_s(self) -> int:
        """Rounded up: 2.50 USD an hour are 694,445 nano-dollars a second."""
        return -(-self.usd_nanos_per_hour * self.gpus // HOUR_S)

    def cost_usd_nanos(self, occupancy_s: float) -> int:
        return ceil(self.usd_nanos_per_s * occupancy_s)


class GpuShare(Struct, frozen=True):
    """What one request used of an engine."""

    occupancy_s: float
    cost_usd_nanos: int  # `idle_usd_nanos` included
    idle_usd_nanos: int = 0  # the part that pays for time in which nothing ran


class GpuAccount(Struct, frozen=True):
    """One stretch of an engine's time, as it is written into the books."""

    elapsed_s: float
    busy_s: float
    price_usd_nanos: int  # of the whole stretch
    charged_usd_nanos: int  # to requests

    @property
    def idle_usd_nanos(self) -> int:
        """What is left for the operator to pay."""
        return max(0, self.price_usd_nanos - self.charged_usd_nanos)

    @property
    def overcharged(self) -> bool:
        """More than a hundredth above what the time cost: requests in flight were counted wrongly."""
        return 100 * self.charged_usd_nanos > 101 * self.price_usd_nanos


class GpuMeter:
    """Shares the time of one engine. `start` and `end` are O(1): one integral serves every request."""

    def __init__(self, rate: GpuRate, now: float) -> None:
        self.rate = rate
        self.in_flight = 0
        self._others = 0  # requests that the engine serves for somebody else, as it says itself
        self._integral_s = 0.0  # of dt / n(t), over the time in which something ran
        self._busy_s = 0.0
        self._at = now
        self._booked_at = now
        self._booked_busy_s = 0.0
        self._charged = 0
        self._usage: list[tuple[float, float]] = [(now, 0.0)]  # (instant, busy seconds until then), a point an hour

    def __repr__(self) -> str:
        return f"GpuMeter({self.rate}, in_flight={self.in_flight}, busy_s={self._busy_s:.3f})"

    def start(self, now: float) -> float:
        """A request is sent. What is returned is handed to `end`."""
        self._advance(now)
        self.in_flight += 1
        return self._integral_s

    def end(self, started: float, now: float) -> GpuShare:
        """Its reply has ended."""
        self._advance(now)
        self.in_flight -= 1
        occupancy = self._integral_s - started
        plain = self.rate.cost_usd_nanos(occupancy)
        cost = self.rate.cost_usd_nanos(occupancy * self._spread(now)) if self.rate.spread_idle else plain
        self._charged += cost
        return GpuShare(occupancy, cost, cost - plain)

    def engine_says(self, running: int, now: float) -> None:
        """The engine's own count of running requests; where it is larger than ours, it serves others as well."""
        self._advance(now)
        self._others = max(0, running - self.in_flight)

    def predicted_usd_nanos(self, seconds: float) -> int:
        """The cost of a request of that length if as many run beside it as now: for an estimated hold."""
        return self.rate.cost_usd_nanos(seconds / (self.in_flight + self._others + 1))

    def most_usd_nanos(self, seconds: float) -> int:
        """... if it had the engine to itself: for a strict hold."""
        return self.rate.cost_usd_nanos(seconds * (SPREAD_MAX if self.rate.spread_idle else 1.0))

    def book(self, now: float) -> GpuAccount:
        """The stretch since the last booking, or since the beginning; once an hour."""
        self._advance(now)
        elapsed, busy = now - self._booked_at, self._busy_s - self._booked_busy_s
        account = GpuAccount(elapsed, busy, self.rate.cost_usd_nanos(elapsed), self._charged)
        self._booked_at, self._booked_busy_s, self._charged = now, self._busy_s, 0
        self._usage.append((now, self._busy_s))
        while len(self._usage) > 2 and self._usage[1][0] <= now - SPREAD_OVER_S:
            del self._usage[0]
        return account

    def _advance(self, now: float) -> None:
        running = self.in_flight + self._others
        if self.in_flight and now > self._at:
            self._busy_s += now - self._at
            self._integral_s += (now - self._at) / running
        self._at = max(now, self._at)

    def _spread(self, now: float) -> float:
        """Elapsed over busy time, of the last day."""
        since, busy_then = self._usage[0]
        busy = self._busy_s - busy_then
        return min(SPREAD_MAX, max(1.0, (now - since) / busy)) if busy > 0 else SPREAD_MAX
