"""What the store that gates share costs a call: well, out, and slow. Prints a table; asserts nothing.

    python -m tests.faults.latency

Two gates are asked in turns, so that whatever else the machine does meets both: one that shares nothing, and one that
shares a store through a fault proxy. The upstream is simulated and answers at once, no call reaches its rate limit, and
none has a known answer. `opening` are the calls that meet the fault before the breaker opens.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from loadtests.fault_proxy import Fault, FaultProxy, Way
from tests.faults.shared_gates import Gates
from tests.redis_server import RedisServer, redis_server

CALLS, OPENING = 2_000, 100
AT_ONCE = 4
RULES: dict[str, object] = {"rpm": 6_000_000, "cache": {"exact": "on"}}
FAULTS = {"black hole": Fault(black_hole=True), "refused": Fault(refuse=True), "200 ms": Fault(down=Way(delay=0.2))}


async def measure(alone: Gates, shared: Gates, what: str, count: int) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(gates: Gates, number: int) -> float:
        async with turns:
            got = await gates.call(0, content=f"{what} {number}")
        assert got.status == 200 or what.endswith("opening")
        return got.seconds * 1_000

    both = await asyncio.gather(*[one((alone, shared)[number % 2], number) for number in range(2 * count)])
    sides = [sorted(both[side::2]) for side in (0, 1)]
    figures = [f"{side[int(count * share)]:9.2f}" for share in (0.5, 0.99) for side in sides]
    print(f"{what:26} {count:6} {' '.join(figures)} {sides[1][-1]:9.2f}", flush=True)


async def play(folder: Path, server: RedisServer) -> None:
    between = FaultProxy("127.0.0.1", server.port)
    await between.start()
    (folder / "alone").mkdir()
    address = f"redis://127.0.0.1:{between.port}/0"
    async with Gates(folder / "alone", None, RULES, count=1) as alone, Gates(folder, address, RULES, count=1) as gates:
        await measure(alone, gates, "(to warm up)", OPENING)
        await measure(alone, gates, "store well", CALLS)
        for name, fault in FAULTS.items():
            between.fault = fault
            between.drop()
            await measure(alone, gates, f"{name}: opening", OPENING)
            await gates.until("out")
            await asyncio.sleep(3)  # its part of the limit fills
            await measure(alone, gates, f"{name}: breaker open", CALLS)
            between.fault = Fault()
            between.drop()
            await gates.until("ok")
    await between.stop()


def main() -> None:
    columns = "p50 alone    shared p99 alone    shared       max"
    print(f"{'ms a call':26} {'calls':>6} {columns}")
    with tempfile.TemporaryDirectory() as folder, redis_server() as server:
        asyncio.run(play(Path(folder), server))


if __name__ == "__main__":
    main()
