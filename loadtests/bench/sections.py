"""The order of the benchmark: which measurement runs when, how often, and on which systems.

Rounds interleave (A B C A B C ...), so that a machine that slows down for a while does so for everybody. Each section
stands alone: `--only` runs one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from . import growth, request_cost, stream_cost
from .growth import Growth
from .metering import priced_calls
from .request_cost import Faults
from .systems import VARIANTS, Lab, System, wait_answer, wait_ready

Section = Literal["requests", "streams", "memory", "start"]
SECTIONS: tuple[Section, ...] = ("requests", "streams", "memory", "start")
STREAMS_OF_LOSS_TEST = 500

Values = dict[str, list[float]]  # by system, one a round


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    rounds: int
    rounds_large: int
    seconds: int  # of wrk, a round and system
    latency_rounds: int
    latency_s: float
    stream_rounds: int
    streams: int
    window_s: float
    loss_window_s: float
    growth_requests: int
    starts: int


QUICK = Size(2, 1, 1, 1, 1.0, 1, 300, 1.0, 1.5, 20_000, 2)
FULL = Size(12, 12, 1, 3, 2.0, 3, 300, 3.0, 5.0, 200_000, 5)


@dataclass(slots=True)
class Results:
    """Everything that was measured, as it was measured; the report does the rest."""

    faults: Faults = field(default_factory=Faults)
    cpu_us: dict[str, Values] = field(default_factory=dict)  # by body, a request
    per_s: dict[str, Values] = field(default_factory=dict)
    p50_us: Values = field(default_factory=dict)
    p99_us: Values = field(default_factory=dict)
    chunk_cpu_us: Values = field(default_factory=dict)
    unsteady: int = 0  # rounds of it in which the client fell behind
    loss: dict[str, stream_cost.Result] = field(default_factory=dict)
    idle_mb: Values = field(default_factory=dict)
    busy_mb: Values = field(default_factory=dict)  # after requests, and while streams run
    growth: Growth | None = None
    ready_s: Values = field(default_factory=dict)
    answered_s: Values = field(default_factory=dict)


class Bench:
    """One run. `names` are those under test, `beside` those that the section on requests has besides; `direct` is the
    upstream without anything between."""

    def __init__(
        self, lab: Lab, names: tuple[str, ...], beside: tuple[str, ...], *, size: Size, say: Callable[[str], None]
    ) -> None:
        self.results = Results()
        self._lab = lab
        self._names = names
        self._names_beside = beside
        self._size = size
        self._say = say
        self._direct: System
        self._systems: tuple[System, ...] = ()
        self._beside: tuple[System, ...] = ()
        self._idle_cpu: dict[str, float] = {}

    def start(self) -> None:
        self._say("starting upstream and systems")
        self._direct = self._lab.start_upstream()
        self._systems = tuple(self._lab.start(name) for name in self._names)
        self._beside = tuple(self._lab.start(name) for name in self._names_beside)
        everyone = (*self._systems, *self._beside)
        for system in everyone:
            wait_ready(system)
        time.sleep(growth.SETTLE_S)
        before = {system.name: system.server.cpu_s() for system in everyone}
        time.sleep(growth.SETTLE_S)
        for system in everyone:
            add(self.results.idle_mb, system, system.server.resident_mb())
            self._idle_cpu[system.name] = (system.server.cpu_s() - before[system.name]) / growth.SETTLE_S
            wait_answer(system)

    def check_metering(self) -> None:
        """After the last section: the gate must have metered and priced every call that the clients saw answered."""
        for system in (*self._systems, *self._beside):
            if system.name in VARIANTS and system.name != "silent":
                self.results.faults.compare(system.name, priced_calls(system))

    def run(self, section: Section) -> None:
        if section == "requests":
            self._requests()
            self._latency()
        elif section == "streams":
            self._streams()
            self._loss()
        elif section == "memory":
            self._memory()
        else:
            self._starts()

    def _requests(self) -> None:
        for body, rounds in (("small", self._size.rounds), ("large", self._size.rounds_large)):
            cpu_us: Values = self.results.cpu_us.setdefault(body, {})
            per_s: Values = self.results.per_s.setdefault(body, {})
            for number, system in self._turns(rounds, *self._beside):
                self._say(f"requests, {body} body, round {number} of {rounds}: {system.name}")
                cost = request_cost.measure_cost(
                    self._lab, system, body=body, seconds=self._size.seconds, faults=self.results.faults
                )
                add(cpu_us, system, cost[0])
                add(per_s, system, cost[1])
                add(self.results.busy_mb, system, system.server.resident_mb())

    def _latency(self) -> None:
        rounds = self._size.latency_rounds
        for number, system in self._turns(rounds, self._direct, *self._beside):
            self._say(f"latency, round {number} of {rounds}: {system.name}")
            seconds, faults = self._size.latency_s, self.results.faults
            p50_us, p99_us = request_cost.measure_latency(self._lab, system, seconds=seconds, faults=faults)
            add(self.results.p50_us, system, p50_us)
            add(self.results.p99_us, system, p99_us)

    def _streams(self) -> None:
        rounds = self._size.stream_rounds
        load = stream_cost.Load(self._size.streams, self._size.window_s)
        for number, system in self._turns(rounds):
            self._say(f"{load.streams} streams, round {number} of {rounds}: {system.name}")
            idle_cpu, faults = self._idle_cpu[system.name], self.results.faults
            result = stream_cost.measure_steady(self._lab, system, load, idle_cpu=idle_cpu, faults=faults)
            add(self.results.chunk_cpu_us, system, result.cpu_us)
            self.results.unsteady += not result.steady

    def _loss(self) -> None:
        late_ms = stream_cost.LATE_MS
        for _, system in self._turns(1, self._direct):
            self._say(f"{STREAMS_OF_LOSS_TEST} streams, nothing lost and nothing late: {system.name}")
            load = stream_cost.Load(STREAMS_OF_LOSS_TEST, self._size.loss_window_s, late_ms)
            faults = self.results.faults
            result = stream_cost.measure_streams(self._lab, system, load, idle_cpu=0.0, faults=faults)
            self.results.loss[system.name] = result
            if system is self._direct:
                late_ms += result.age_p99_us / 1000
            else:
                add(self.results.busy_mb, system, result.resident_mb)

    def _memory(self) -> None:
        if "headgate" in self._names:
            self._say(f"memory over {self._size.growth_requests:,} requests: headgate")
            requests, faults = self._size.growth_requests, self.results.faults
            self.results.growth = growth.measure_growth(self._lab, requests=requests, faults=faults)

    def _starts(self) -> None:
        for number in range(self._size.starts):
            for system in self._systems:
                self._say(f"start {number + 1} of {self._size.starts}: {system.name}")
                ready_s, answered_s = growth.measure_start(self._lab, system.name)
                add(self.results.ready_s, system, ready_s)
                add(self.results.answered_s, system, answered_s)

    def _turns(self, rounds: int, *first: System) -> list[tuple[int, System]]:
        """There and back, so that what drifts meets all alike."""
        there = (*first, *self._systems)
        return [(number + 1, system) for number in range(rounds) for system in (there[::-1] if number % 2 else there)]


def add(values: Values, system: System, value: float) -> None:
    values.setdefault(system.name, []).append(value)
