"""Streams: CPU a chunk while hundreds of them run, and whether any chunk is lost or late.

The CPU counts only while every stream runs, less what the idle system uses anyway.
A chunk is late when it is more than 100 ms older than chunks get on the direct way to the upstream.
"""

from __future__ import annotations

from dataclasses import dataclass

from .processes import lines
from .request_cost import Faults, last
from .systems import INTERVAL_MS, KEY, Lab, System, module

LATE_MS = 100.0
STEADY_SHARE = 0.05
TRIES = 3  # for a steady window; on a machine with other work a client can fall behind and then catch up


@dataclass(frozen=True, slots=True)
class Load:
    streams: int
    window_s: float
    late_ms: float = LATE_MS


@dataclass(frozen=True, slots=True)
class Result:
    cpu_us: float  # a chunk
    per_s: float  # chunks
    lost: int
    late: int
    age_p50_us: float
    age_p99_us: float
    age_max_us: float
    resident_mb: float  # with all streams open
    steady: bool  # as many chunks came in the window as the upstream sent in it, so that its CPU is theirs


def measure_steady(lab: Lab, system: System, load: Load, *, idle_cpu: float, faults: Faults) -> Result:
    """The last of at most `TRIES`, steady or not."""
    for _ in range(TRIES):
        result = measure_streams(lab, system, load, idle_cpu=idle_cpu, faults=faults)
        if result.steady:
            break
    return result


def measure_streams(lab: Lab, system: System, load: Load, *, idle_cpu: float, faults: Faults) -> Result:
    """`idle_cpu` is what the system uses without any load, in seconds of CPU a second."""
    options = ["--streams", str(load.streams), "--window", str(load.window_s), "--late-ms", str(load.late_ms)]
    target = ["--port", str(system.port), "--key", KEY, "--body", str(lab.bodies["stream"])]
    pids = ["--pids", *map(str, system.server.pids)]
    command = module("streams", *target, "--interval-ms", str(INTERVAL_MS), *options, *pids)
    row = last(lines(command, core=lab.load_core, log=lab.folder / "streams.log"))
    lost = int(row["lost"])
    bad = lost + int(row["misplaced"]) + int(row["unended"])
    faults.add_streams(system.name, load.streams, chunks=int(row["chunks"]), bad=bad, sample=str(row["sample"]))
    counted, window_s = float(row["window_chunks"]), float(row["window_s"])
    used = float(row["window_cpu_s"]) - idle_cpu * window_s
    sent = window_s * load.streams * 1000 / INTERVAL_MS
    return Result(
        cpu_us=max(0.0, used) * 1e6 / max(1.0, counted),
        per_s=counted / window_s,
        lost=lost,
        late=int(row["late"]),
        age_p50_us=float(row["age_p50_us"]),
        age_p99_us=float(row["age_p99_us"]),
        age_max_us=float(row["age_max_us"]),
        resident_mb=float(row["resident_mb"]),
        steady=abs(counted / sent - 1) <= STEADY_SHARE,
    )
