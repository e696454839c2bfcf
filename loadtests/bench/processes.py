"""Starts processes on a core, reads their CPU seconds and memory from /proc, and stops them, whatever happens.

A process counts with all its threads and children. CPU is user and system time as the kernel books it (ticks of 10 ms,
so a measurement should last seconds). Linux only; with a single core everything shares it, and only CPU is comparable.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).parents[2]
STOP_S_MAX = 5.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """Something could not be measured; the message says why and what to do."""


def cores() -> tuple[int, int]:
    """Core of the systems under test, core of load and upstream."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def cpu_ticks(stat: str) -> int:
    """utime + stime of a /proc/PID/stat line; the command in brackets may hold spaces and brackets itself."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def resident_kb(status: str) -> int:
    """VmRSS of /proc/PID/status; 0 for a process that is gone."""
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def spawn(command: Sequence[str], *, core: int, output: IO[bytes] | int, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Pinned before it runs its first instruction: the mask is inherited."""
    allowed = os.sched_getaffinity(0)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    os.sched_setaffinity(0, {core})
    try:
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment,  # with byte-code, as an installation has it: compiling is no part of a start
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,  # Ctrl-C reaches the benchmark alone, which then stops everything in order
        )
    finally:
        os.sched_setaffinity(0, allowed)


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S_MAX)


class Server:
    """A process that runs until it is stopped; its output goes to a file."""

    def __init__(self, name: str, command: Sequence[str], *, core: int, log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as sink:
            self._process = spawn(command, core=core, output=sink, errors=sink)

    @property
    def pids(self) -> list[int]:
        """Its own and its children's."""
        pid = self._process.pid
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return [pid, *map(int, children)]
        return [pid]

    def cpu_s(self) -> float:
        return cpu_s(self.pids)

    def resident_mb(self) -> float:
        return resident_mb(self.pids)

    def require_alive(self) -> None:
        if self._process.poll() is not None:
            raise BenchError(f"{self.name} ended with {self._process.returncode}:\n{tail(self._log)}")

    def stop(self) -> None:
        stop(self._process)


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time of all of them, threads included, since they began."""
    return sum(cpu_ticks(text) for text in _read(pids, "stat")) / TICKS_PER_S


def resident_mb(pids: Sequence[int]) -> float:
    return sum(resident_kb(text) for text in _read(pids, "status")) / 1024


def _read(pids: Sequence[int], name: str) -> Iterator[str]:
    for pid in pids:
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{pid}/{name}").read_text()


def json_lines(output: Iterable[bytes]) -> Iterator[Mapping[str, float | str]]:
    """wrk writes a report of its own around the line that requests.lua adds; only objects count."""
    for line in output:
        if line.startswith(b"{"):
            yield json.loads(line)


def lines(command: Sequence[str], *, core: int, log: Path) -> Iterator[Mapping[str, float | str]]:
    """Runs a client to its end and gives each line of JSON as soon as it is written."""
    with log.open("ab") as sink:
        process = spawn(command, core=core, output=subprocess.PIPE, errors=sink)
    try:
        yield from json_lines(process.stdout or ())
        if process.wait(STOP_S_MAX) != 0:
            raise BenchError(f"{' '.join(command[:4])} ... ended with {process.returncode}:\n{tail(log)}")
    finally:
        stop(process)


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
