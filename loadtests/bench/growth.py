"""Memory over many requests, and the time from exec to a first answer.

The growth is a straight line through the samples behind the first 20,000 requests: caches and pools may fill, but then
they have to stay as they are. Each start is a new process with its files in the page cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from .figures import slope
from .metering import priced_calls
from .processes import BenchError
from .request_cost import CONNECTIONS, Faults, load
from .systems import Lab, wait_answer, wait_ready

SETTLE_S = 1.5  # until a new process counts as idle
SAMPLES = 100
LABEL = "headgate, growth test"
WARM_REQUESTS = 20_000  # before memory has to be flat, or half of a shorter run


@dataclass(frozen=True, slots=True)
class Growth:
    samples: tuple[tuple[int, float], ...]  # requests so far, MB

    def after_warm_up(self) -> tuple[tuple[int, float], ...]:
        warm = min(WARM_REQUESTS, self.samples[-1][0] // 2)
        return tuple(sample for sample in self.samples if sample[0] >= warm)

    def mb_per_100k(self) -> float:
        return slope(self.after_warm_up()) * 100_000


def measure_growth(lab: Lab, *, requests: int, faults: Faults) -> Growth:
    """Of the gate alone, in a process of its own."""
    system = lab.start("headgate")
    wait_ready(system)
    every = max(1, requests // SAMPLES)
    options = ["--requests", str(requests), "--connections", str(CONNECTIONS), "--progress", str(every)]
    samples = []
    for row in load(lab, system, "small", options):
        if "progress" in row:
            samples.append((int(row["progress"]), system.server.resident_mb()))
        else:
            faults.add(LABEL, row)
    faults.compare(LABEL, priced_calls(system))
    lab.stop(system)
    if not samples:
        raise BenchError(f"headgate answered too few of {requests} requests: {faults.sample}")
    return Growth(tuple(samples))


def measure_start(lab: Lab, name: str) -> tuple[float, float]:
    """Seconds from exec until it says it is ready, and until it has answered a call."""
    system = lab.start(name)
    ready_s = wait_ready(system)
    answered_s = wait_answer(system)
    lab.stop(system)
    return ready_s, answered_s
