"""Real gates in one process, in real time, over a real Redis; what stands between them may be a fault proxy."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import aiohttp
from msgspec import Struct

from proxy.app import Gate
from proxy.clock import SystemClock
from proxy.config.load import load

AT_ONCE = 32
TRIES = 300  # tenths of a second
QUICK = {
    "kind": "simulated",
    "first_token_s": {"median": 0.0001, "sigma": 0},
    "token_s": {"median": 0.0001, "sigma": 0},
    "output_tokens": {"median": 2, "sigma": 0},
}
PRICE = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}


class Got(Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    seconds: float
    body: bytes


class Gates:
    """`rules`: of every agent. Each gate is asked in turn."""

    def __init__(
        self, folder: Path, url: str | None, rules: dict[str, object], *, count: int = 2, timeout_ms: int = 50
    ) -> None:
        self._folder = folder
        self._rules = rules
        self._count = count
        self._shared = {"redis": url, "gates": count, "timeout_ms": timeout_ms} if url is not None else {}
        self.gates: list[Gate] = []
        self.log = io.BytesIO()

    async def __aenter__(self) -> Gates:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        for number in range(self._count):
            file = self._folder / f"gate{number}.json"
            file.write_text(json.dumps(self._config(number)))
            gate = Gate(load(file, {}), lambda file=file: load(file, {}), SystemClock(), log_to=_Open(self.log))  # type: ignore[misc]
            await gate.start()
            self.gates.append(gate)
        await asyncio.sleep(0.2)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await asyncio.gather(*[gate.stop() for gate in self.gates])

    def _config(self, number: int) -> dict[str, object]:
        return {
            "server": {"port": 0},
            "admin": {"port": 0},
            "data_dir": str(self._folder / f"data{number}"),
            "providers": {"quick": QUICK},
            "models": {"m": "quick/sim"},
            "pricing": {"overrides": {"quick/sim": PRICE}},
            "defaults": self._rules,
            "shared": self._shared,
        }

    async def call(self, gate: int, agent: str = "a", content: str = "hi", *, temperature: float = 1.0) -> Got:
        body = {"model": "m", "temperature": temperature, "messages": [{"role": "user", "content": content}]}
        url = f"{self.gates[gate].data_url}/agents/{agent}/v1/chat/completions"
        began = asyncio.get_running_loop().time()
        async with self._session.post(url, json=body) as reply:
            text = await reply.read()
        return Got(reply.status, dict(reply.headers), asyncio.get_running_loop().time() - began, text)

    async def calls(self, count: int, agent: str = "a") -> Counter[int]:
        """By status. So many at once, spread over all gates."""
        some = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> int:
            async with some:
                return (await self.call(number % len(self.gates), agent)).status

        return Counter(await asyncio.gather(*[one(number) for number in range(count)]))

    async def health(self, gate: int) -> str:
        async with self._session.get(f"{self.gates[gate].data_url}/health/ready") as reply:
            assert reply.status == 200  # a store that is out stops nobody
            told: dict[str, str] = await reply.json()
        return told["shared"]

    async def until(self, state: str) -> None:
        """All gates say so; they find out by themselves."""
        for _ in range(TRIES):
            if {await self.health(gate) for gate in range(len(self.gates))} == {state}:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"the store is not {state} after {TRIES / 10:g} s")

    async def told_of_each_return(self) -> int:
        """How often the log says that the store was out, once it says as often that it was back."""
        for _ in range(TRIES):
            told = self.log.getvalue()
            out, back = (told.count(b"shared store " + word) for word in (b"out", b"back"))
            if out == back:
                return out
            await asyncio.sleep(0.1)
        raise AssertionError(f"the log says {out} times that the store was out, and {back} times that it was back")

    async def metric(self, gate: int, name: str) -> float:
        """The sum of the series that begin so."""
        async with self._session.get(f"{self.gates[gate].admin_url}/metrics") as reply:
            lines = (await reply.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    async def until_metric(self, gate: int, name: str, least: float) -> None:
        for _ in range(TRIES):
            if await self.metric(gate, name) >= least:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{name} is below {least:g} after {TRIES / 10:g} s")


class _Open(io.RawIOBase):
    """Gates close their logs; the test still reads what they wrote."""

    def __init__(self, log: io.BytesIO) -> None:
        self._log = log

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return self._log.write(data)  # type: ignore[arg-type]
