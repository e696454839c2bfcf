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

from pricing.gpu_board import Board, GpuTime, OwnBoard
from proxy.types import Price

HOUR_S: Final = 3_600
SPREAD_MAX: Final = 3.0  # idle time makes a request at most so many times dearer
SPREAD_OVER_S: Final = 24.0 * HOUR_S
PICOS_PER_NANO: Final = 1_000
# Until it is known how long a model's answers take: what a small model on a modern GPU needs, and rather more.
TOKEN_S: Final = 0.02
FIRST_TOKEN_S: Final = 1.0
GUARD_S: Final = 0.25  # from the decision to stop a reply to its stop
ID: Final = "gpu-"


class GpuRate(Struct, frozen=True):
    """The price of one engine, however many GPUs it has."""

    usd_nanos_per_hour: int  # of one GPU
    gpus: int = 1
    spread_idle: bool = False  # idle time is charged to requests, not to the operator

    @property
    def usd_nanos_per_s(self) -> int:
        """Rounded up: 2.50 USD an hour are 694,445 nano-dollars a second."""
        return -(-self.usd_nanos_per_hour * self.gpus // HOUR_S)

    @property
    def price(self) -> Price:
        """The price of a model that runs on it. Its name says all of it, for as long as the ledger is read."""
        per_second = self.usd_nanos_per_s
        no_tokens = (0, 0, 0, 0, 0, 0, 0, 0, 0)
        return Price(f"{ID}{per_second}", *no_tokens, per_second=per_second * PICOS_PER_NANO)

    def cost_usd_nanos(self, occupancy_s: float) -> int:
        return ceil(self.usd_nanos_per_s * occupancy_s)


def rate_of(price_id: str) -> int | None:
    """Nano-dollars a second, read off the name of a price; None: it is not the price of an engine."""
    digits = price_id.removeprefix(ID)
    return int(digits) if price_id.startswith(ID) and digits.isdecimal() else None


def cost_of(price: Price, occupancy_s: float) -> int:
    return ceil(price.per_second // PICOS_PER_NANO * occupancy_s)


class GpuShare(Struct, frozen=True):
    """What one request used of an engine."""

    occupancy_s: float
    cost_usd_nanos: int  # `idle_usd_nanos` included
    idle_usd_nanos: int = 0  # the part that pays for time in which nothing ran


class GpuForecast(Struct, frozen=True):
    """How an engine looks to a request that is about to be sent: for its hold."""

    price: Price
    running: int  # beside it
    spread: float  # by which idle time makes it dearer now
    spread_max: float
    left_s: float  # until its deadline
    usual_s: float | None = None  # what such answers take; None: it is not known yet

    @property
    def most_usd_nanos(self) -> int:
        """If it had the engine to itself until the deadline, and until it is stopped there."""
        return cost_of(self.price, (self.left_s + GUARD_S) * self.spread_max)

    @property
    def guard_usd_nanos(self) -> int:
        """What is used between the decision to stop a stream and its stop."""
        return cost_of(self.price, GUARD_S * self.spread)

    def likely_usd_nanos(self, output_tokens: int) -> int:
        """If as many run beside it as now; `output_tokens` is what it may produce."""
        seconds = FIRST_TOKEN_S + output_tokens * TOKEN_S if self.usual_s is None else self.usual_s
        return min(self.most_usd_nanos, cost_of(self.price, seconds * self.spread / (self.running + 1)))


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
    """Shares the time of one engine. `book` is for the process that owns the books, the rest for those that serve."""

    def __init__(self, rate: GpuRate, now: float, board: Board | None = None) -> None:
        """`board`: shared with other processes that send to this engine."""
        self.rate = rate
        self._board = OwnBoard(now) if board is None else board
        time = self._board.step(now)
        self._booked_at = now
        self._booked_busy_s = time.busy_s
        self._booked_charges = time.charged_usd_nanos
        self._usage: list[tuple[float, float]] = [(now, time.busy_s)]  # (instant, busy seconds until then), one an hour

    def __repr__(self) -> str:
        return f"GpuMeter({self.rate}, in_flight={self.in_flight}, {self._board!r})"

    @property
    def in_flight(self) -> int:
        return self._board.in_flight

    def start(self, now: float) -> float:
        """A request is sent. What is returned is handed to `end`."""
        return self._board.step(now, change=1).integral_s

    def end(self, started: float, price: Price, now: float) -> GpuShare:
        """Its reply has ended. `price`: the one it was sent at, which may have changed meanwhile."""
        time = self._board.step(now, change=-1)
        occupancy = time.integral_s - started
        cost = cost_of(price, occupancy * self._spread(time))
        self._board.step(now, charged=cost)
        return GpuShare(occupancy, cost, cost - cost_of(price, occupancy))

    def occupancy_s(self, started: float, now: float) -> float:
        """Of a request that runs."""
        return self._board.step(now).integral_s - started

    def spent_usd_nanos(self, started: float, price: Price, now: float) -> int:
        """By a request that runs."""
        time = self._board.step(now)
        return cost_of(price, (time.integral_s - started) * self._spread(time))

    def forecast(self, price: Price, now: float, *, left_s: float, usual_s: float | None) -> GpuForecast:
        time = self._board.step(now)
        return GpuForecast(
            price,
            time.in_flight,
            spread=self._spread(time),
            spread_max=SPREAD_MAX if self.rate.spread_idle else 1.0,
            left_s=max(0.0, left_s),
            usual_s=usual_s,
        )

    def stretch(self, now: float) -> GpuAccount:
        """Since the last booking, or since the beginning."""
        time = self._board.step(now)
        elapsed, busy = now - self._booked_at, time.busy_s - self._booked_busy_s
        charged = time.charged_usd_nanos - self._booked_charges
        return GpuAccount(elapsed, busy, self.rate.cost_usd_nanos(elapsed), charged)

    def book(self, now: float, rate: GpuRate | None = None) -> GpuAccount:
        """Ends the stretch; once an hour, and when the engine gets another `rate` from now on."""
        account = self.stretch(now)
        self._booked_at = now
        self._booked_busy_s += account.busy_s
        self._booked_charges += account.charged_usd_nanos
        self.rate = rate or self.rate
        self._usage.append((now, self._booked_busy_s))
        while len(self._usage) > 2 and self._usage[1][0] <= now - SPREAD_OVER_S:
            del self._usage[0]
        self._board.spread_since(*self._usage[0])
        return account

    def _spread(self, time: GpuTime) -> float:
        """Elapsed over busy time, of the last day."""
        if not self.rate.spread_idle:
            return 1.0
        busy = time.busy_s - time.since_busy_s
        return min(SPREAD_MAX, max(1.0, (time.at - time.since) / busy)) if busy > 0 else SPREAD_MAX
