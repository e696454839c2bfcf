"""A gate with workers, an upstream with its own bill, and clients: all real processes on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import aiohttp
import msgspec

ROOT = Path(__file__).parents[2]
UPSTREAM = {"kind": "openai", "api_key": "sk-x", "connect_timeout_s": 10}  # one process, on a busy machine
PRICE = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
HELLO = ({"role": "user", "content": "hi"},)
ONE_LOOK = aiohttp.ClientTimeout(total=5)  # whoever is asked can be killed, or be still on its way


class Answer(msgspec.Struct):
    status: int
    id: str
    cost_usd_nanos: int
    code: str | None = None


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Fleet:
    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        budget: object = (),
        wait_s: float = 2.0,
        abort: str = "unknown",
        **more: object,
    ) -> None:
        """`more`: whole blocks of the configuration."""
        self.folder = folder
        self.port, self.admin_port, vendor_port = free_port(), free_port(), free_port()
        self.vendor_url = f"http://127.0.0.1:{vendor_port}"
        self.file = folder / "headgate.json"
        self.config: dict[str, object] = {
            "server": {"port": self.port, "workers": workers},
            "admin": {"port": self.admin_port},
            "data_dir": str(folder / "data"),
            "providers": {"up": {**UPSTREAM, "base_url": f"{self.vendor_url}/v1", "abort": abort}},
            "models": {"m": "up/real"},
            "pricing": {"overrides": {"up/real": PRICE}},
            "agents": {"a": {"budget": budget, "retry": {"attempts": 1}}},
            "budgets": {"wait_s": wait_s},
            "limits": {"drain_s": 10},
            **more,
        }
        self.write()
        vendor = [sys.executable, str(Path(__file__).with_name("vendor.py")), str(vendor_port)]
        self.vendor = subprocess.Popen(vendor, cwd=ROOT)
        self.gate: subprocess.Popen[bytes] | None = None

    def write(self) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(self.config, indent=1))
        fresh.replace(self.file)

    def start(self) -> None:
        command = [sys.executable, "-m", "proxy", "serve", "--config", str(self.file)]
        with (self.folder / "stderr").open("ab") as errors:
            self.gate = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)

    @property
    def supervisor(self) -> int:
        assert self.gate is not None
        return self.gate.pid

    def workers(self) -> list[int]:
        """The children of the supervisor."""
        try:
            found = Path(f"/proc/{self.supervisor}/task/{self.supervisor}/children").read_text().split()
        except OSError:
            return []
        return [int(pid) for pid in found]

    def kill(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        if self.gate is not None and pid == self.supervisor:
            self.gate.wait(10)

    def stop(self) -> int:
        """Ends the gate; returns its exit code."""
        if self.gate is None:
            return 0
        self.gate.terminate()
        return self.gate.wait(30)

    def close(self) -> None:
        for process in (self.gate, self.vendor):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(10)

    def log(self) -> str:
        return (self.folder / "stderr").read_text()

    def calls_that_failed(self) -> str:
        """As the log tells of them."""
        calls = [line for line in self.log().splitlines() if '"event":"call"' in line]
        return "\n".join([line for line in calls if '"status":200' not in line])


class Clients:
    """Every answer that came whole is remembered with its id and its cost."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.answers: list[Answer] = []
        self.broken = 0
        self.streaming = 0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
        )

    async def close(self) -> None:
        await self._session.close()

    async def call(
        self,
        run: str = "r1",
        max_tokens: int = 500,
        *,
        parent: str | None = None,
        key: str = "x",
        messages: Sequence[object] = HELLO,
    ) -> Answer | None:
        """None: there was no whole answer."""
        url = f"http://127.0.0.1:{self.fleet.port}/agents/a/runs/{run}/v1/chat/completions"
        body = {"model": "m", "max_tokens": max_tokens, "messages": messages}
        headers = {"Authorization": f"Bearer {key}"} | ({"X-Headgate-Parent-Run": parent} if parent else {})
        try:
            async with self._session.post(url, json=body, headers=headers) as reply:
                content = await reply.json()
                id = reply.headers["x-headgate-request-id"]
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError):
            self.broken += 1
            return None
        usage = content.get("usage", {"prompt_tokens": 0, "completion_tokens": 0})
        cost = usage["prompt_tokens"] * 1_000 + usage["completion_tokens"] * 2_000
        answer = Answer(reply.status, id, cost, content.get("error", {}).get("code"))
        self.answers.append(answer)
        return answer

    async def stream(self, *, far: int, max_tokens: int = 5_000) -> None:
        """Reads a long stream until somebody ends it; `streaming` counts it once it has come so many bytes far."""
        url = f"http://127.0.0.1:{self.fleet.port}/agents/a/runs/r1/v1/chat/completions"
        message = {"role": "user", "content": "hi"}
        body = {"model": "m", "max_tokens": max_tokens, "messages": [message], "stream": True}
        got = 0
        try:
            async with self._session.post(url, json=body, headers={"Authorization": "Bearer x"}) as reply:
                async for data in reply.content.iter_any():
                    self.streaming += got < far <= got + len(data)
                    got += len(data)
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.broken += 1

    async def ready(self, seconds: float = 30.0) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                async with self._session.get(
                    f"http://127.0.0.1:{self.fleet.port}/health/ready", timeout=ONE_LOOK
                ) as reply:
                    if reply.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.05)
        raise AssertionError(f"not ready: {self.fleet.log()[-2000:]}")

    async def admin(self, path: str) -> dict[str, object]:
        async with self._session.get(f"http://127.0.0.1:{self.fleet.admin_port}{path}") as reply:
            found = await reply.json()
            assert isinstance(found, dict), found
            return found

    async def targets(self) -> list[dict[str, object]]:
        async with self._session.get(f"http://127.0.0.1:{self.fleet.admin_port}/targets") as reply:
            found = await reply.json()
            assert isinstance(found, list), found
            return found

    async def post(self, path: str, body: dict[str, object]) -> int:
        return (await self.order(path, body))[0]

    async def order(self, path: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        """Status and answer."""
        async with self._session.post(f"http://127.0.0.1:{self.fleet.admin_port}{path}", json=body) as reply:
            return reply.status, await reply.json()

    async def metric(self, name: str) -> float:
        async with self._session.get(f"http://127.0.0.1:{self.fleet.admin_port}/metrics") as reply:
            lines = (await reply.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition(" ")[0].partition("{")[0] == name)

    async def bill(self) -> tuple[int, int]:
        async with self._session.get(f"{self.fleet.vendor_url}/bill") as reply:
            found = await reply.json()
        return found["usd_nanos"], found["calls"]

    async def standing(self, account: str, unit: str = "usd") -> dict[str, int]:
        rows = (await self.admin("/budgets"))["rows"]
        assert isinstance(rows, list)
        row = next(row for row in rows if row["account"] == account and row["unit"] == unit)
        return {name: nanos(row[name]) for name in ("spent", "held", "overrun", "unresolved", "limit")}

    async def until(self, holds: Callable[[], bool], seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came"
            await asyncio.sleep(0.05)


def nanos(text: object) -> int:
    whole, _, rest = str(text).partition(".")
    return int(whole) * 10**9 + int(rest.ljust(9, "0")[:9] or 0)


def play(fleet: Fleet, scene: Callable[[Clients], Awaitable[None]]) -> None:
    """Runs one scene on a real loop with the gate up, and ends every process."""

    async def whole() -> None:
        clients = Clients(fleet)
        try:
            await clients.ready()
            await scene(clients)
        finally:
            await clients.close()

    try:
        fleet.start()
        asyncio.run(whole())
    finally:
        fleet.close()
