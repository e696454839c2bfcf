"""Agents, the real gate and vendors, each on sockets of its own: what a fleet's calls cost, by the vendors' own bill.

The gate is the whole one, ledger and listeners included, with a configuration that names models, prices and whether
answers are kept, and otherwise says nothing. Runs go on side by side, the calls of a run one after another.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct, json

from proxy.app import Gate
from proxy.clock import SystemClock, loop_time
from proxy.config.file import Document
from proxy.config.load import build
from proxy.config.tree import Value
from proxy.providers.base import UpstreamRequest
from proxy.providers.transport import HttpTransport
from tests.economics.vendor import CACHED_PART, Message, Tariff, Vendor

AT_ONCE = 16  # runs side by side
SEED = 6
LOOKS, EACH_S = 500, 0.02  # at what is in flight: a call ends a moment after its client has its answer


class Ask(Struct, frozen=True):
    """One call of a run. `run` "": it says nothing of its run."""

    model: str
    messages: tuple[Message, ...]
    run: str = ""


class Answer(Struct, frozen=True):
    text: str
    served_by: str


class _Message(Struct, frozen=True):
    content: str


class _Choice(Struct, frozen=True):
    message: _Message


class _Reply(Struct, frozen=True):
    choices: list[_Choice]


class Market(Struct, frozen=True):
    """What was spent by then: `bill` by the vendors, `ledger` by the gate, in nano-dollars."""

    gate: Gate
    vendors: Mapping[str, Vendor]
    transport: HttpTransport

    @property
    def bill(self) -> int:
        return sum(vendor.usd_nanos for vendor in self.vendors.values())

    @property
    def ledger(self) -> int:
        return self.gate.ledger.posted_usd_nanos

    def asked(self, model: str) -> int:
        """Calls that the vendors had for it."""
        return sum(vendor.calls[model] for vendor in self.vendors.values())

    async def written(self) -> None:
        """Returns when every call stands in the ledger; AssertionError where one never ends."""
        for _ in range(LOOKS):
            if not self.gate.in_flight:
                break
            await asyncio.sleep(EACH_S)
        assert not self.gate.in_flight
        await self.gate.ledger.flush()

    async def play(self, runs: Sequence[Sequence[Ask]]) -> list[list[Answer]]:
        """The answers of each run, in order; AssertionError for a call that has none."""
        free = asyncio.Semaphore(AT_ONCE)

        async def one(run: Sequence[Ask]) -> list[Answer]:
            async with free:
                return [await self.ask(each) for each in run]

        return await asyncio.gather(*map(one, runs))

    async def ask(self, ask: Ask) -> Answer:
        wanted = {"model": ask.model, "messages": ask.messages, "response_format": {"type": "json_object"}}
        headers = {"Authorization": "Bearer any", "Content-Type": "application/json", "X-Headgate-Agent": "fleet"}
        if ask.run:
            headers["X-Headgate-Run"] = ask.run
        url = f"{self.gate.data_url}/v1/chat/completions"
        reply = await self.transport.send(UpstreamRequest("POST", url, headers, json.encode(wanted)))
        body = b""
        while data := await reply.read():
            body += data
        assert reply.status == 200, (reply.status, body[:500])
        return Answer(
            json.decode(body, type=_Reply).choices[0].message.content, reply.headers.get("x-headgate-served-by", "")
        )


@asynccontextmanager
async def market(
    vendors: Mapping[str, Vendor], models: Mapping[str, Value], tariffs: Mapping[str, Tariff], *, keeps_answers: bool
) -> AsyncIterator[Market]:
    """`models`: as under `models` of a configuration, of the vendors by their names; every one has the same tariffs."""
    async with AsyncExitStack() as closing:
        for vendor in vendors.values():
            await vendor.start()
            closing.push_async_callback(vendor.stop)
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        values = _values(vendors, models, tariffs, keeps_answers=keeps_answers) | {"data_dir": str(folder / "data")}
        config = build(Document("economics", values, {}), {})
        gate = Gate(
            config, lambda: config, SystemClock(seed=SEED, now=loop_time), log_to=closing.enter_context(nowhere())
        )
        closing.push_async_callback(gate.stop)
        await gate.start()
        transport = HttpTransport()
        closing.push_async_callback(transport.close)
        yield Market(gate, vendors, transport)


@contextmanager
def nowhere() -> Iterator[BinaryIO]:
    with Path(os.devnull).open("wb", buffering=0) as stream:
        yield stream


def _values(
    vendors: Mapping[str, Vendor], models: Mapping[str, Value], tariffs: Mapping[str, Tariff], *, keeps_answers: bool
) -> dict[str, Value]:
    """No second copies of late calls: what is late here is the machine that all of it runs on."""
    prices: dict[str, Value] = {f"{name}/{model}": _price(tariffs[model]) for name in vendors for model in tariffs}
    return {
        "server": {"port": 0},
        "admin": {"port": 0},
        "providers": {name: {"kind": "openai", "base_url": vendor.base_url} for name, vendor in vendors.items()},
        "models": dict(models),
        "defaults": {"cache": {"exact": "on" if keeps_answers else "off"}, "hedge": "off"},
        "pricing": {"overrides": prices},
    }


def _price(tariff: Tariff) -> Value:
    return {
        "input_usd_per_mtok": f"{tariff.input_usd:.4f}",
        "input_cached_usd_per_mtok": f"{tariff.input_usd / CACHED_PART:.4f}",
        "output_usd_per_mtok": f"{tariff.output_usd:.4f}",
    }
