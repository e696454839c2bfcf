"""Memory and start: resident memory idle, its growth over many requests, and the time from exec to a first answer.

The growth is a straight line through the samples behind the first tenth: caches and pools may fill, but then they have
to stay. Each start is a new process with its files in the page cache.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from .figures import slope
from .processes import BenchError
from .request_cost import CONNECTIONS, Faults, load
from .systems import Lab, System, wait_answer, wait_ready

SETTLE_S = 1.5  # until a new process counts as idle
SAMPLES = 100
WARM_SHARE = 0.1  # of the requests, before memory has to be flat


@dataclass(frozen=True, slots=True)
class Growth:
    samples: tuple[tuple[int, float], ...]  # requests so far, MB

    def after_warm_up(self) -> tuple[tuple[int, float], ...]:
        last = self.samples[-1][0]
        return tuple(sample for sample in self.samples if sample[0] >= last * WARM_SHARE)

    def mb_per_100k(self) -> float:
        return slope(self.after_warm_up()) * 100_000

    def share(self) -> float:
        """What came on top after the warm-up, as a share of what was there."""
        flat = self.after_warm_up()
        return flat[-1][1] / flat[0][1] - 1 if flat[0][1] else 0.0


def measure_idle(lab: Lab, name: str) -> float:
    """MB of a new process that serves and was asked for nothing."""
    system = lab.start(name)
    wait_ready(system)
    time.sleep(SETTLE_S)
    resident_mb = system.server.resident_mb()
    lab.stop(system)
    return resident_mb


def idle_cpu(system: System, seconds: float) -> float:
    """Seconds of CPU a second that it uses while nothing happens."""
    before = system.server.cpu_s()
    time.sleep(seconds)
    return (system.server.cpu_s() - before) / seconds


def measure_growth(lab: Lab, name: str, *, requests: int, faults: Faults) -> Growth:
    system = lab.start(name)
    wait_ready(system)
    every = max(1, requests // SAMPLES)
    options = ["--requests", str(requests), "--connections", str(CONNECTIONS), "--progress", str(every)]
    samples = []
    for row in load(lab, system, "small", options):
        if "progress" in row:
            samples.append((int(row["progress"]), system.server.resident_mb()))
        else:
            faults.add(name, row)
    lab.stop(system)
    if not samples:
        raise BenchError(f"{name} answered too few of {requests} requests: {faults.sample}")
    return Growth(tuple(samples))


def measure_start(lab: Lab, name: str) -> tuple[float, float]:
    """Seconds from exec until it says it is ready, and until it has answered a call."""
    system = lab.start(name)
    ready_s = wait_ready(system)
    answered_s = wait_answer(system)
    lab.stop(system)
    return ready_s, answered_s
