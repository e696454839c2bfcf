"""What the store that gates share costs a call: well, out, and slow. Prints a table; asserts nothing.

    python -m tests.faults.shared_latency

Each row is so many calls to one gate with a simulated upstream that answers at once, four at a time, with a rate limit
that none of them reaches. `opening` is the moment of the fault: the calls that meet it before the breaker opens.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from loadtests.fault_proxy import Fault, FaultProxy, Way
from tests.faults.shared_gates import Gates
from tests.redis_server import RedisServer, in_real_time, redis_server

CALLS, OPENING = 2_000, 100
AT_ONCE = 4
RULES: dict[str, object] = {"rpm": 6_000_000, "cache": {"exact": "on"}}
FAULTS = {"black hole": Fault(black_hole=True), "refused": Fault(refuse=True), "200 ms": Fault(down=Way(delay=0.2))}


async def measure(gates: Gates, what: str, count: int) -> None:
    turns, waits = asyncio.Semaphore(AT_ONCE), []

    async def one(number: int) -> None:
        async with turns:
            got = await gates.call(0, content=f"{what} {number}")
        assert got.status in (200, 429)
        waits.append(got.seconds * 1_000)

    await asyncio.gather(*[one(number) for number in range(count)])
    waits.sort()
    p50, p99 = (waits[int(len(waits) * share)] for share in (0.5, 0.99))
    print(f"{what:28} {count:6} {p50:8.2f} {p99:8.2f} {waits[-1]:8.2f}", flush=True)


async def shared(folder: Path, server: RedisServer) -> None:
    between = FaultProxy("127.0.0.1", server.port)
    await between.start()
    async with Gates(folder, f"redis://127.0.0.1:{between.port}/0", RULES, count=1) as gates:
        await measure(gates, "store well", CALLS)
        for name, fault in FAULTS.items():
            between.fault = fault
            between.drop()
            await measure(gates, f"{name}: opening", OPENING)
            await gates.until("out")
            await measure(gates, f"{name}: breaker open", CALLS)
            between.fault = Fault()
            between.drop()
            await gates.until("ok")
        await measure(gates, "store well again", CALLS)
    await between.stop()


async def alone(folder: Path) -> None:
    async with Gates(folder, None, RULES, count=1) as gates:
        await measure(gates, "(to warm up)", CALLS)
        await measure(gates, "nothing shared", CALLS)


def main() -> None:
    print(f"{'calls to one gate':28} {'calls':>6} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
    with tempfile.TemporaryDirectory() as folder:
        in_real_time(alone(Path(folder)))
    with tempfile.TemporaryDirectory() as folder, redis_server() as server:
        in_real_time(shared(Path(folder), server))


if __name__ == "__main__":
    main()
