"""A load client that checks each reply: the number it sent must come back on the same connection.

Closed: N connections, each sends when its reply is there (the growth test, and in place of wrk where that is missing).
Open: arrivals at a fixed rate that do not wait for replies (the latency test); random gaps, the same for every system.
A latency counts from the write of the request. Prints one line of JSON at the end, and one each `--progress` requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from .figures import percentile
from .wire import NUMBER_WIDTH, Reply, Request

DRAIN_S_MAX = 10.0  # how long replies may still arrive after the last request


@dataclass(slots=True)
class Tally:
    requests: int = 0
    wrong: int = 0  # another number, another status, no body
    broken: int = 0  # connections that ended while a reply was due
    sample: str = ""  # one wrong reply, to look at
    latencies_us: list[int] = field(default_factory=list)

    def as_json(self, duration_s: float) -> str:
        row = {
            "requests": self.requests,
            "duration_us": round(duration_s * 1e6),
            "wrong": self.wrong,
            "broken": self.broken,
            "sample": self.sample,
            "p50_us": percentile(self.latencies_us, 0.50),
            "p99_us": percentile(self.latencies_us, 0.99),
        }
        return json.dumps(row)


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport
        self._reply: Reply | None = None
        self._number = 0
        self._body = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP only
        self._transport = transport

    def send(self, request: Request, number: int) -> None:
        self._reply, self._number, self._body = Reply(), number, b""
        self._sent_at = time.perf_counter()
        self._transport.write(request.numbered(number))

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            self._load.unasked(data)
            return
        self._body += reply.feed(data)
        if reply.done:
            self._reply = None
            right = reply.status == 200 and b'"chatcmpl-%0*d"' % (NUMBER_WIDTH, self._number) in self._body
            problem = "" if right else f"{reply.status} to {self._number}: {self._body[:200]!r}"
            self._load.replied(self, time.perf_counter() - self._sent_at, problem)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reply is not None:
            self._load.lost(f"connection lost, number {self._number}: {exc!r}")

    def close(self) -> None:
        self._reply = None
        self._transport.close()


class Load:
    """Sends and counts. A closed run ends after `left` requests or its time, an open one after its time."""

    def __init__(self, request: Request, *, left: int, progress: int) -> None:
        self.tally = Tally()
        self._request = request
        self._left = left
        self._progress = progress
        self._sent = 0
        self._due = 0  # replies
        self._free: list[Connection] = []
        self._closed_loop = False
        self._ended = asyncio.Event()

    async def closed(self, connections: list[Connection], seconds: float) -> None:
        self._closed_loop = True
        timer = asyncio.get_running_loop().call_later(seconds, self._stop)
        for connection in connections:
            self._send(connection)
        await asyncio.wait_for(self._ended.wait(), seconds + DRAIN_S_MAX)
        timer.cancel()

    async def open(self, connections: list[Connection], *, rate: float, seconds: float) -> None:
        """An arrival that finds every connection busy would have to wait: it counts as broken instead."""
        rng = random.Random(1)
        loop = asyncio.get_running_loop()
        self._free = list(connections)
        at, end = loop.time(), loop.time() + seconds
        while (at := at + rng.expovariate(rate)) < end:
            await asyncio.sleep(max(0.0, at - loop.time()))
            if self._free:
                self._send(self._free.pop())
            else:
                self.tally.broken += 1
        self._stop()
        await asyncio.wait_for(self._ended.wait(), DRAIN_S_MAX)

    def replied(self, connection: Connection, latency_s: float, problem: str) -> None:
        tally = self.tally
        tally.requests += 1
        tally.latencies_us.append(round(latency_s * 1e6))
        if problem:
            tally.wrong += 1
            tally.sample = problem
        if self._progress and tally.requests % self._progress == 0:
            print(json.dumps({"progress": tally.requests}), flush=True)
        self._due -= 1
        if self._closed_loop and self._left > 0:
            self._send(connection)
        else:
            self._free.append(connection)
            self._check_end()

    def lost(self, problem: str) -> None:
        self.tally.broken += 1
        self.tally.sample = problem
        self._due -= 1
        self._check_end()

    def unasked(self, data: bytes) -> None:
        self.tally.wrong += 1
        self.tally.sample = f"bytes that nobody asked for: {data[:200]!r}"

    def _send(self, connection: Connection) -> None:
        if self._left > 0:
            self._left -= 1
            self._due += 1
            self._sent += 1
            connection.send(self._request, self._sent)

    def _stop(self) -> None:
        self._left = 0
        self._check_end()

    def _check_end(self) -> None:
        if not self._due and not self._left:
            self._ended.set()


async def run(given: argparse.Namespace) -> None:
    request = Request(given.body.read_bytes(), given.key)
    load = Load(request, left=given.requests, progress=given.progress)
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: Connection(load), "127.0.0.1", given.port))[1]
        for _ in range(given.connections)
    ]
    began_at = time.perf_counter()
    try:
        if given.rate:
            await load.open(connections, rate=given.rate, seconds=given.seconds)
        else:
            await load.closed(connections, given.seconds)
    except TimeoutError:
        load.tally.broken += 1
        load.tally.sample = f"replies still missing {DRAIN_S_MAX:g} s after the end"
    print(load.tally.as_json(time.perf_counter() - began_at), flush=True)
    for connection in connections:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Sends numbered requests and checks every reply.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--body", type=Path, required=True, help="file with @NUMBER@ in it")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--requests", type=int, default=10_000_000, help="at most so many")
    parser.add_argument("--seconds", type=float, default=600.0, help="at most so long")
    parser.add_argument("--rate", type=float, default=0.0, help="arrivals a second; 0: closed loop")
    parser.add_argument("--progress", type=int, default=0, help="a line each so many requests")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
