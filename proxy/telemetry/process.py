"""What is known of the process itself, under the names that every Python process is known by to Prometheus.

Memory, CPU and files out of Linux' /proc, which is left out where there is none; the interpreter; its collector.
"""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from proxy.telemetry.text import Format, NumberText, Pairs

PROC = Path("/proc")
FILES_LIMIT = b"Max open files"

Sample = tuple[Pairs, float]
Metric = tuple[str, str, str, list[Sample]]  # name, kind, help


def written(format: Format, proc: Path = PROC) -> bytes:
    """With what marks the end of a scrape."""
    parts = []
    for name, kind, help, samples in (*_process(proc), _interpreter(), *_collector()):
        parts.append(format.heading(name, kind, help))
        parts += [NumberText(name, pairs).write(value) for pairs, value in samples]
    return b"".join((*parts, format.end))


def _process(proc: Path) -> Iterator[Metric]:
    with suppress(OSError, ValueError, IndexError, StopIteration):
        lines = (proc / "stat").read_bytes().splitlines()
        booted_at = float(next(line for line in lines if line.startswith(b"btime ")).split()[1])
        fields = (proc / "self/stat").read_bytes().rpartition(b")")[2].split()  # proc(5), from the third on
        ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        used_s, started_s = float(fields[11]) / ticks + float(fields[12]) / ticks, float(fields[19]) / ticks
        yield _one("process_virtual_memory_bytes", "Virtual memory size in bytes.", float(fields[20]))
        yield _one("process_resident_memory_bytes", "Resident memory size in bytes.", float(fields[21]) * page)
        about = "Start time of the process since unix epoch in seconds."
        yield _one("process_start_time_seconds", about, started_s + booted_at)
        yield _one("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", used_s)
    with suppress(OSError, ValueError, IndexError, StopIteration):
        opened = len(os.listdir(proc / "self/fd"))
        limits = (proc / "self/limits").read_bytes().splitlines()
        most = float(next(line for line in limits if line.startswith(FILES_LIMIT)).split()[3])
        yield _one("process_open_fds", "Number of open file descriptors.", opened)
        yield _one("process_max_fds", "Maximum number of open file descriptors.", most)


def _interpreter() -> Metric:
    names = ("major", "minor", "patchlevel")
    pairs = [
        ("version", platform.python_version()),
        ("implementation", platform.python_implementation()),
        *zip(names, platform.python_version_tuple(), strict=True),
    ]
    return "python_info", "gauge", "Python platform information", [(pairs, 1.0)]


def _collector() -> Iterator[Metric]:
    told = (
        ("objects_collected", "collected", "Objects collected during gc"),
        ("objects_uncollectable", "uncollectable", "Uncollectable objects found during GC"),
        ("collections", "collections", "Number of times this generation was collected"),
    )
    generations = gc.get_stats()
    for name, field, help in told:
        samples: list[Sample] = [([("generation", str(at))], stats[field]) for at, stats in enumerate(generations)]
        yield f"python_gc_{name}_total", "counter", help, samples


def _one(name: str, help: str, value: float) -> Metric:
    return name, "counter" if name.endswith("_total") else "gauge", help, [([], value)]
