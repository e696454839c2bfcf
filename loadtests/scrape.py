"""What a scrape costs the calls of a gate: latency with and without a scraper, side by side, and the scrape itself.

    python loadtests/scrape.py                   a gate with about 10,000 series in front of a canned upstream

Rounds with and without a scrape each second take turns, so that a slow minute of the machine meets both. Every call is
timed from its send; one connection each, no pipelining. Imports nothing of the gate; loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
TOKENS = 8
CALLERS = 4
PAUSE_S = 0.02  # of a caller between two calls
SCRAPE_EVERY_S = 1.0
READY_S_MAX = 30.0
BODY = json.dumps({"model": "m0", "messages": [{"role": "user", "content": "hi"}]}).encode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def configuration(folder: Path, port: int, admin_port: int, *, upstream: int, models: int, agents: int) -> str:
    names = [f"m{number}" for number in range(models)]
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    values = {
        "server": {"host": "127.0.0.1", "port": port},
        "admin": {"host": "127.0.0.1", "port": admin_port},
        "data_dir": str(folder / "data"),
        "providers": {"lab": {"kind": "openai", "base_url": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-lab"}},
        "models": {name: f"lab/{name}" for name in names},
        "agents": {f"agent-{number}": {} for number in range(agents)},
        "pricing": {"overrides": {f"lab/{name}": price for name in names}},
    }
    return json.dumps(values)


def asked(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST" if body else "GET", path, body, {"Content-Type": "application/json"} if body else {})
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


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """Seconds of one call."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: gate\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    began = time.perf_counter()
    writer.write(head + BODY)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    if b" 200 " not in answer.split(b"\r\n")[0]:
        raise SystemExit(f"a call failed: {answer[:80]!r}")
    return time.perf_counter() - began


async def caller(port: int, end: float) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took = []
    while time.perf_counter() < end:
        took.append(await call(reader, writer))
        await asyncio.sleep(PAUSE_S)
    writer.close()
    return took


async def callers(port: int, seconds: float) -> list[float]:
    end = time.perf_counter() + seconds
    return [each for took in await asyncio.gather(*(caller(port, end) for _ in range(CALLERS))) for each in took]


def scrape(admin_port: int) -> tuple[float, int]:
    """Seconds and samples."""
    began = time.perf_counter()
    _, text = asked(admin_port, "/metrics")
    return time.perf_counter() - began, sum(not line.startswith(b"#") for line in text.splitlines())


async def scraping(admin_port: int, found: list[tuple[float, int]]) -> None:
    while True:
        await asyncio.sleep(SCRAPE_EVERY_S)
        found.append(await asyncio.to_thread(scrape, admin_port))


async def rounds(port: int, admin_port: int, options: argparse.Namespace) -> dict[str, object]:
    quiet: list[float] = []
    scraped: list[float] = []
    found: list[tuple[float, int]] = []
    await callers(port, 1.0)
    for _ in range(options.rounds):
        quiet += await callers(port, options.seconds)
        task = asyncio.get_running_loop().create_task(scraping(admin_port, found))
        scraped += await callers(port, options.seconds)
        task.cancel()
    return {"without": summary(quiet), "with": summary(scraped), "scrape": summary([s for s, _ in found]),
            "samples": found[-1][1]}  # fmt: skip


def summary(seconds: list[float]) -> dict[str, float]:
    ranked = sorted(seconds)
    at = {f"p{share:g}_ms": ranked[int(len(ranked) * share / 100)] * 1e3 for share in (50, 95, 99, 99.9)}
    return {"count": len(ranked), **{name: round(value, 3) for name, value in at.items()}}


def main(given: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=45, help="each brings about 180 series")
    parser.add_argument("--agents", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each half of a round")
    options = parser.parse_args(given)
    ports = free_port(), free_port(), free_port()
    upstream, port, admin_port = ports
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "headgate.yaml"
        sizes = {"models": options.models, "agents": options.agents}
        file.write_text(configuration(Path(folder), port, admin_port, upstream=upstream, **sizes))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started = [
            subprocess.Popen([sys.executable, str(HERE / "upstream.py"), "--port", str(upstream)], **quiet),
            subprocess.Popen([sys.executable, "-m", "proxy", "serve", "--config", str(file)], **quiet),
        ]
        try:
            wait_until_ready(port, "/health/ready")
            print(json.dumps(asyncio.run(rounds(port, admin_port, options)), indent=1))
        finally:
            for process in started:
                process.terminate()
                process.wait(15)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
