"""Requests: CPU a request and requests/s at saturation (wrk), and latency added at a moderate rate (own client).

Systems take turns round by round, so that a slow minute of the machine meets all of them. CPU is what the pinned
process used divided by the requests it completed, not a fraction of the throughput.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .processes import BenchError, lines
from .systems import KEY, Lab, System, module

CONNECTIONS = 32  # wrk has a thread for each, so that a thread knows which reply it waits for
WARM_S = 0.4
LATENCY_PER_S = 500.0
LATENCY_CONNECTIONS = 64

Row = Mapping[str, float | str]


@dataclass(slots=True)
class Faults:
    """Replies and chunks that were wrong or did not come, of everything; a single one fails the benchmark."""

    checked: int = 0
    wrong: int = 0
    sample: str = ""
    calls: dict[str, int] = field(default_factory=dict)  # answered, by system

    def add(self, name: str, row: Row) -> None:
        self.checked += int(row["requests"])
        self._answered(name, int(row["requests"]))
        bad = int(row["wrong"]) + int(row["broken"])
        self.wrong += bad
        if bad:
            self.sample = f"{name}: {row['sample']}"

    def add_streams(self, name: str, streams: int, *, chunks: int, bad: int, sample: str) -> None:
        self.checked += chunks
        self._answered(name, streams)
        self.wrong += bad
        if bad:
            self.sample = f"{name}: {sample}"

    def compare(self, name: str, metered: int) -> None:
        """`metered`: the calls that the system itself has a price for."""
        answered = self.calls.get(name, 0)
        if metered < answered:
            self.wrong += answered - metered
            self.sample = f"{name}: {answered} calls were answered, {metered} metered and priced"

    def _answered(self, name: str, calls: int) -> None:
        self.calls[name] = self.calls.get(name, 0) + calls


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def measure_cost(lab: Lab, system: System, *, body: str, seconds: int, faults: Faults) -> tuple[float, float]:
    """CPU microseconds a request, and requests a second."""
    faults.add(system.name, last(load(lab, system, body, closed(WARM_S))))
    before = system.server.cpu_s()
    row = saturate(lab, system, body=body, seconds=seconds)
    used = system.server.cpu_s() - before
    faults.add(system.name, row)
    requests = float(row["requests"])
    if not requests:
        raise BenchError(f"{system.name} answered nothing: {row['sample']}")
    return used * 1e6 / requests, requests * 1e6 / float(row["duration_us"])


def measure_latency(lab: Lab, system: System, *, seconds: float, faults: Faults) -> tuple[float, float]:
    """p50 and p99 in microseconds, as the client sees them."""
    options = ["--rate", str(LATENCY_PER_S), "--seconds", str(seconds), "--connections", str(LATENCY_CONNECTIONS)]
    row = last(load(lab, system, "small", options))
    faults.add(system.name, row)
    return float(row["p50_us"]), float(row["p99_us"])


def saturate(lab: Lab, system: System, *, body: str, seconds: int) -> Row:
    """Keeps the system busy from `CONNECTIONS` connections and checks every reply."""
    if not has_wrk():
        return last(load(lab, system, body, closed(seconds)))
    command = [
        *("wrk", f"-t{CONNECTIONS}", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s"),
        *("-s", "loadtests/bench/requests.lua", f"http://127.0.0.1:{system.port}"),
        *("--", str(lab.bodies[body]), KEY),
    ]
    return last(lines(command, core=lab.load_core, log=lab.folder / "wrk.log"))


def closed(seconds: float) -> list[str]:
    return ["--seconds", str(seconds), "--connections", str(CONNECTIONS)]


def load(lab: Lab, system: System, body: str, options: Sequence[str]) -> Iterator[Row]:
    target = ["--port", str(system.port), "--key", KEY, "--body", str(lab.bodies[body])]
    return lines(module("load", *target, *options), core=lab.load_core, log=lab.folder / "load.log")


def last(rows: Iterator[Row]) -> Row:
    whole = list(rows)
    if not whole:
        raise BenchError("the load client said nothing")
    return whole[-1]
