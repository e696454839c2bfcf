"""How many users there are at what time, where that is more than a number."""

from __future__ import annotations

from locust import LoadTestShape

STEPS = 6


def shape_of(name: str, count: int) -> type[LoadTestShape]:
    return {"ramp": _ramp, "spike": _spike}[name](count)


def _ramp(count: int) -> type[LoadTestShape]:
    """In six steps up to `count`, past the knee."""

    class Ramp(LoadTestShape):
        def tick(self) -> tuple[int, float]:
            users = max(1, count * min(STEPS, 1 + int(self.get_run_time() / 4)) // STEPS)
            return users, float(count)

    return Ramp


def _spike(count: int) -> type[LoadTestShape]:
    """Ten times as many for a third of the time."""

    class Spike(LoadTestShape):
        def tick(self) -> tuple[int, float]:
            inside = 8 <= self.get_run_time() < 16
            return (count if inside else max(1, count // 10)), float(count)

    return Spike
