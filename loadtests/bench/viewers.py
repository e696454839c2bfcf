"""What viewers of the live feed cost a gate: CPU of its process without them and with them, under whatever load it has.

`python -m loadtests.bench.viewers --pid PID --admin 127.0.0.1:8081` beside a gate that runs. Linux: CPU is read from
`/proc`. A viewer reads its stream and throws it away; what a browser draws is not the gate's cost.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def view(host: str, port: int, token: str) -> int:
    """Until it is cancelled, or the feed ends; the bytes that came."""
    reader, writer = await asyncio.open_connection(host, port)
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    writer.write(f"GET /events HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n".encode())
    got = 0
    try:
        while data := await reader.read(65536):
            got += len(data)
    except asyncio.CancelledError:
        writer.close()
    return got


async def share(pid: int, seconds: float) -> float:
    """Of one core, over some seconds."""
    loop = asyncio.get_running_loop()
    began_s, began_at = cpu_s(pid), loop.time()
    await asyncio.sleep(seconds)
    return (cpu_s(pid) - began_s) / (loop.time() - began_at)


async def measure(args: argparse.Namespace) -> None:
    host, _, port = args.admin.rpartition(":")
    alone = await share(args.pid, args.seconds)
    async with asyncio.TaskGroup() as group:
        viewers = [group.create_task(view(host, int(port), args.token)) for _ in range(args.viewers)]
        await asyncio.sleep(1)
        watched = await share(args.pid, args.seconds)
        for viewer in viewers:
            viewer.cancel()
    got = sum(viewer.result() for viewer in viewers)
    print(f"without viewers      {alone:7.2%} of a core")
    print(f"with {args.viewers:3} viewers     {watched:7.2%} of a core, {got / 1024:.0f} KiB sent in all")
    print(f"the viewers cost     {watched - alone:7.2%} of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pid", type=int, required=True, help="of the gate; with several processes the supervisor's")
    parser.add_argument("--admin", default="127.0.0.1:8081", help="HOST:PORT of the admin listener")
    parser.add_argument("--token", default="", help="of the admin listener")
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each of the two measurements")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
