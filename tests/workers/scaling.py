"""What a call costs in CPU with one process and with two workers: printed, never asserted.

On a machine whose cores the load generator shares, requests a second say little about a second worker. CPU does: each
of two workers serves as many calls on a core of its own as one process would, less what working together costs it, and
beside them the supervisor needs its part of a third core. Figures are of whole processes, all threads, with a budget
over each call.

python -m tests.workers.scaling (needs `wrk`)
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.workers.fleet import ROOT, Clients, Fleet, free_port, play

CONNECTIONS = 32
WARM_S, MEASURED_S, ROUNDS = 2, 5, 3
BUDGET = [{"usd": 1_000_000, "per": "day"}]
POST = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer x"
wrk.body = '{"model":"m","max_tokens":20,"messages":[{"role":"user","content":"hello"}]}'
"""


def cpu_s(pid: int) -> float:
    """Of a process, user and system, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(workers: int) -> tuple[float, float]:
    """Microseconds a call: of those that serve, and of the supervisor. With one process that is all one."""
    found: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        fleet, port = Fleet(Path(folder), workers=workers, budget=BUDGET), free_port()
        fleet.config["providers"] = {"up": {"kind": "openai", "base_url": f"http://127.0.0.1:{port}/v1"}}
        fleet.write()
        (Path(folder) / "post.lua").write_text(POST)
        upstream = subprocess.Popen([sys.executable, str(ROOT / "loadtests/upstream.py"), "--port", str(port)])

        async def scene(clients: Clients) -> None:
            await asked(fleet, WARM_S)
            processes = [*(fleet.workers() if workers > 1 else ()), fleet.supervisor]
            before = [cpu_s(pid) for pid in processes]
            calls = await asked(fleet, MEASURED_S)
            found.extend((cpu_s(pid) - then) / calls * 1e6 for pid, then in zip(processes, before, strict=True))

        try:
            play(fleet, scene)
        finally:
            upstream.kill()
    return (found[0], 0.0) if workers == 1 else (sum(found[:-1]), found[-1])


async def asked(fleet: Fleet, seconds: int) -> int:
    """Calls that `wrk` got an answer to."""
    url = f"http://127.0.0.1:{fleet.port}/agents/a/v1/chat/completions"
    command = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "-s", str(fleet.folder / "post.lua"), url)
    wrk = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output = (await wrk.communicate())[0].decode()
    assert "Non-2xx" not in output, output
    return int(output.partition(" requests in")[0].split()[-1])


def main() -> None:
    one = statistics.median([measured(1)[0] for _ in range(ROUNDS)])
    two = [measured(2) for _ in range(ROUNDS)]
    worker, supervisor = (statistics.median(part) for part in zip(*two, strict=True))
    full = worker / supervisor
    print(f"one process: {one:.0f} us a call")
    print(f"two workers: {worker:.0f} us a call in a worker, {supervisor:.0f} us in the supervisor")
    print(f"with a core for each, two workers serve {2 * one / worker:.2f} times what one process does,")
    print(f"while the supervisor uses {2 * supervisor / worker:.2f} of a core; it is full at {full:.1f} workers")
    print(f"measured at {time.strftime('%H:%M')} with {os.cpu_count()} cores for gate, upstream and clients together")


if __name__ == "__main__":
    main()
