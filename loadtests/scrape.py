"""What a scrape costs the calls of a gate: latency with and without a scraper, side by side, and the scrape itself.

    python loadtests/scrape.py                   a gate with 13,000 series in front of a canned upstream
    python loadtests/scrape.py --workers 2

Some seconds without scrapes and some with one a second take turns, so that a slow minute of the machine meets both. The
gate has a core to itself; load, upstream and scraper share the other, the scraper in a process of its own that gives
way to the load. Every call is timed from its send; one connection a caller, no pipelining. A call has met a scrape when
any of it lies within one. Imports nothing of the gate; loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

HERE = Path(__file__).parent
CALLERS = 4
PAUSE_S = 0.01  # of a caller between two calls
SCRAPE_EVERY_S = 1.0
READY_S_MAX = 30.0
WAY_S_MAX = 0.002  # what a scrape may add to a call
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.3"
BODY = json.dumps({"model": "m0", "messages": [{"role": "user", "content": "hi"}]}).encode()

Span = tuple[float, float]  # when it began and ended, by the monotonic clock that all processes share


@dataclass(slots=True)
class Seen:
    quiet: list[Span] = field(default_factory=list)
    loaded: list[Span] = field(default_factory=list)  # while there is a scrape each second
    scrapes: list[Span] = field(default_factory=list)
    samples: int = 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def configuration(folder: Path, ports: tuple[int, int, int], *, models: int, agents: int, workers: int) -> str:
    """`ports`: of the gate, of its admin listener, of the upstream."""
    names = [f"m{number}" for number in range(models)]
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    port, admin_port, upstream = ports
    values = {
        "server": {"host": "127.0.0.1", "port": port, "workers": workers},
        "admin": {"host": "127.0.0.1", "port": admin_port},
        "data_dir": str(folder / "data"),
        "providers": {"lab": {"kind": "openai", "base_url": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-lab"}},
        "models": {name: f"lab/{name}" for name in names},
        "agents": {f"agent-{number}": {} for number in range(agents)},
        "pricing": {"overrides": {f"lab/{name}": price for name in names}},
    }
    return json.dumps(values)


def asked(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Accept": ACCEPT})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def wait_until_ready(port: int, path: str) -> None:
    end = time.monotonic() + READY_S_MAX
    while time.monotonic() < end:
        try:
            if asked(port, path)[0] < 500:
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing answers at port {port}")


# --- the calls -------------------------------------------------------------------------------------------------------


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, model: str = "m0") -> Span:
    body = BODY.replace(b'"m0"', f'"{model}"'.encode())
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: gate\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    began = time.perf_counter()
    writer.write(head + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    if b" 200 " not in answer.split(b"\r\n")[0]:
        raise SystemExit(f"a call failed: {answer[:80]!r}")
    return began, time.perf_counter()


async def caller(port: int, end: float, models: int) -> list[Span]:
    """All models in turn, so that many series move between two scrapes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    spans: list[Span] = []
    while time.perf_counter() < end:
        spans.append(await call(reader, writer, f"m{len(spans) % models}"))
        await asyncio.sleep(PAUSE_S)
    writer.close()
    return spans


async def callers(port: int, seconds: float, models: int) -> list[Span]:
    end = time.perf_counter() + seconds
    return [
        each for spans in await asyncio.gather(*(caller(port, end, models) for _ in range(CALLERS))) for each in spans
    ]


# --- the scraper -----------------------------------------------------------------------------------------------------


def scrape_when_told(admin_port: int, orders: IO[str], answers: IO[str]) -> None:
    """A scrape for each line of `orders`; its span and its number of samples as a line of JSON."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # also where all the rest runs in real time
    os.nice(19)
    for _ in orders:
        began = time.perf_counter()
        _, text = asked(admin_port, "/metrics")
        ended = time.perf_counter()
        samples = text.count(b"\n") - text.count(b"\n#")
        answers.write(json.dumps([began, ended, samples]) + "\n")
        answers.flush()


async def scraping(scraper: subprocess.Popen[str], seen: Seen) -> None:
    assert scraper.stdin is not None
    assert scraper.stdout is not None
    while True:
        await asyncio.sleep(SCRAPE_EVERY_S / 2)
        scraper.stdin.write("go\n")
        scraper.stdin.flush()
        await asyncio.sleep(SCRAPE_EVERY_S / 2)  # a scrape is over by then, or this waits for it
        began, ended, seen.samples = json.loads(scraper.stdout.readline())
        seen.scrapes.append((began, ended))


async def rounds(port: int, scraper: subprocess.Popen[str], options: argparse.Namespace) -> Seen:
    seen = Seen()
    await callers(port, 2.0, options.models)
    for _ in range(options.rounds):
        seen.quiet += await callers(port, options.seconds, options.models)
        task = asyncio.get_running_loop().create_task(scraping(scraper, seen))
        seen.loaded += await callers(port, options.seconds, options.models)
        await asyncio.sleep(SCRAPE_EVERY_S)  # the last scrape's answer is read
        task.cancel()
    return seen


# --- what is said ----------------------------------------------------------------------------------------------------


def met(calls: Sequence[Span], scrapes: Sequence[Span]) -> list[Span]:
    """Those calls of which any part lies within a scrape."""
    return [(began, ended) for began, ended in calls if any(began < off and ended > on for on, off in scrapes)]


def summary(spans: Sequence[Span]) -> dict[str, float]:
    """Milliseconds."""
    ranked = sorted([ended - began for began, ended in spans]) or [0.0]
    at = {f"p{share:g}_ms": ranked[int(len(ranked) * share / 100)] * 1e3 for share in (50, 95, 99)}
    return {
        "count": len(spans),
        **{name: round(value, 3) for name, value in at.items()},
        "max_ms": round(ranked[-1] * 1e3, 3),
    }


def report(seen: Seen) -> dict[str, object]:
    quiet, touched = summary(seen.quiet), summary(met(seen.loaded, seen.scrapes))
    added = {name: round(touched[name] - quiet[name], 3) for name in quiet if name != "count"}
    return {
        "without": quiet,
        "with": summary(seen.loaded),
        "calls that met a scrape": touched,
        "added to them": added,
        "at most 2 ms at p99": added["p99_ms"] <= WAY_S_MAX * 1e3,
        "scrape": summary(seen.scrapes),
        "samples": seen.samples,
    }


# --- the processes ---------------------------------------------------------------------------------------------------


@contextmanager
def running(command: Sequence[str], core: int, **streams: int) -> Iterator[subprocess.Popen[str]]:
    """Pinned to a core from its first instruction, and stopped at the end."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=streams.get("stdin", subprocess.DEVNULL),
            stdout=streams.get("stdout", subprocess.DEVNULL),
            stderr=subprocess.DEVNULL,
            text=True,
        )
    finally:
        os.sched_setaffinity(0, allowed)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)


def measure(options: argparse.Namespace, folder: Path) -> Seen:
    ports = port, admin_port, upstream = free_port(), free_port(), free_port()
    cores = sorted(os.sched_getaffinity(0))
    own, other = cores[0], cores[-1]
    file = folder / "headgate.yaml"
    file.write_text(configuration(folder, ports, models=options.models, agents=options.agents, workers=options.workers))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        running([str(HERE / "upstream.py"), "--port", str(upstream)], other),
        running(["-m", "proxy", "serve", "--config", str(file)], own),
        running([__file__, "--scrape", str(admin_port)], other, **pipes) as scraper,
    ):
        wait_until_ready(port, "/health/ready")
        os.sched_setaffinity(0, {other})
        return asyncio.run(rounds(port, scraper, options))


def main(given: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=45, help="each brings about 180 series")
    parser.add_argument("--agents", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each half of a round")
    parser.add_argument("--scrape", type=int, metavar="PORT", help=argparse.SUPPRESS)  # the scraper's own process
    options = parser.parse_args(given)
    if options.scrape:
        scrape_when_told(options.scrape, sys.stdin, sys.stdout)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(report(measure(options, Path(folder))), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
