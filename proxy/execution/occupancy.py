"""One attempt at an engine of one's own: how long it is there, and what that costs.

The clock runs from the first byte sent to the end of the reply, or to where the gate closes the exchange; however it
ended, the time was used. What the time of an engine costs, and how it is shared, is decided by `pricing.gpu`; how much
of it is held for an attempt by `policies.budget`.
"""

from __future__ import annotations

from msgspec import structs

from policies.estimate import Expected, Experience
from pricing.gpu import GpuMeter, GpuShare
from proxy.types import Price, Target


class Occupancy:
    """`share` is there once it has ended, unless nothing was sent."""

    __slots__ = ("_meter", "_price", "_seconds", "_started", "_started_at", "_target", "share")

    def __init__(self, meter: GpuMeter, target: Target, price: Price) -> None:
        self.share: GpuShare | None = None
        self._meter = meter
        self._target = target
        self._price = price
        self._started: float | None = None  # the meter's mark, not an instant
        self._started_at = 0.0
        self._seconds = 0.0

    def __repr__(self) -> str:
        return f"Occupancy({self._target.id}, {self._meter!r}, {self.share})"

    @classmethod
    def of(cls, meter: GpuMeter, target: Target) -> Occupancy | None:
        """None where tokens are what costs."""
        price = target.price
        return None if price is None or not price.per_second else cls(meter, target, price)

    def foresee(self, expected: Expected, experience: Experience, *, left_s: float, now: float) -> Expected:
        """What the call will probably take, the engine's time included. `left_s`: until its deadline."""
        usual_s = experience.seconds(self._target)
        forecast = self._meter.forecast(self._price, now, left_s=left_s, usual_s=usual_s)
        return structs.replace(expected, time=forecast)

    def start(self, now: float) -> None:
        """The second time: nothing."""
        if self._started is None:
            self._started, self._started_at = self._meter.start(now), now

    def end(self, now: float) -> None:
        """The second time: nothing."""
        if self._started is not None and self.share is None:
            self.share = self._meter.end(self._started, self._price, now)
            self._seconds = now - self._started_at

    def spent_usd_nanos(self, now: float) -> int:
        return 0 if self._started is None else self._meter.spent_usd_nanos(self._started, self._price, now)

    def learn(self, experience: Experience) -> None:
        """Of an answer that came to its own end."""
        if self.share is not None:
            experience.took(self._target, self._seconds)
