"""Sets up the demo and takes it down: two sets of the same providers, the gate before one of them, a fleet for each.

Each column has simulated providers of its own, with the same seed and the same faults: shared ones would let a column
profit from prompts that the other had brought into their caches. Nothing is measured here, only connected.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from proxy.app import Gate
from proxy.clock import Clock, secret_token
from proxy.demo import runaway
from proxy.demo.accounts import accounts
from proxy.demo.agents import AGENTS, timetable
from proxy.demo.check import checked, told
from proxy.demo.client import Client
from proxy.demo.figures import Seen, quantile
from proxy.demo.fleet import Fleet, Tally
from proxy.demo.narrator import Narrator, Side
from proxy.demo.news import News
from proxy.demo.result import Known, Result, column
from proxy.demo.runaway import Runaway
from proxy.demo.settings import configuration
from proxy.demo.site import Site
from proxy.demo.story import PROVIDERS, Story, story
from proxy.demo.vendor import Invoice, Vendor
from proxy.demo.view import Pace, Picture, Watcher
from proxy.providers.simulated import Simulation, Spread
from proxy.providers.transport import HttpTransport
from proxy.tasks import Tasks

GRACE_S = 8.0  # for calls under way when the demo is ended early
# A call ends a moment after its client has the last byte, or when the copy that lost has been read to its end.
SETTLE_LOOKS, SETTLE_EACH_S = 500, 0.02
LATE_S = 60.0  # past its length the demo ends itself
FIRST_TOKEN_S = {"east": 0.20, "west": 0.25, "north": 0.30}  # medians; the rest of a provider's character is the same


class Script(Struct, frozen=True):
    """One demo: everything else follows from it."""

    seconds: float
    seed: int


class Agents(Struct, frozen=True):
    """All of one column."""

    fleet: Fleet
    runaway: Runaway


class Stage:
    """An async context manager: inside it everything listens and nothing has been asked yet."""

    def __init__(self, script: Script, folder: Path, *, clock: Clock, stopping: asyncio.Event) -> None:
        self.script = script
        self.story = story(script.seconds)
        self.timetable = timetable(script.seed, self.story)
        self.direct, self.through = (_vendors(script.seed, self.story, clock) for _ in range(2))
        self._folder = folder
        self._clock = clock
        self._stopping = stopping
        self._closing = AsyncExitStack()
        self._began_at = 0.0
        self._defects: list[BaseException] = []
        self._tasks = Tasks(lambda name, error: self._defects.append(error))
        self.gate: Gate
        self._sides: tuple[Agents, Agents]  # direct, through the gate

    async def __aenter__(self) -> Stage:
        async with AsyncExitStack() as closing:
            direct = {name: await self._listen(vendor, closing) for name, vendor in self.direct.items()}
            behind = {name: await self._listen(vendor, closing) for name, vendor in self.through.items()}
            keys = {agent: f"hg-demo-{secret_token(12)}" for agent in (*AGENTS, runaway.AGENT)}
            config = configuration(behind, keys, self._folder / "data")
            log = self._folder / "gate.log"
            written = closing.enter_context(log.open("wb", buffering=0))
            self.gate = Gate(config, lambda: config, self._clock, log_to=written)
            closing.push_async_callback(self.gate.stop)
            await self.gate.start()
            own = {agent: direct[PROVIDERS[number % len(PROVIDERS)]] for number, agent in enumerate(AGENTS)}
            own[runaway.AGENT] = direct[PROVIDERS[-1]]
            shared = dict.fromkeys(own, f"{self.gate.data_url}/v1")
            self._sides = (await self._side(own, keys, closing), await self._side(shared, keys, closing))
            self.news = News(log, self.fleets[1].tally)
            closing.callback(self.news.close)
            closing.push_async_callback(self._tasks.close)
            self._closing = closing.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    @property
    def fleets(self) -> tuple[Fleet, Fleet]:
        """Direct, through the gate."""
        direct, through = self._sides
        return direct.fleet, through.fleet

    async def play(self, watcher: Watcher) -> Result:
        """The whole story, or as much of it as there was before `stopping` was set."""
        self._began_at = self._clock.now()
        for vendor in (*self.direct.values(), *self.through.values()):
            vendor.opens()
        direct, through = self._sides
        narrator = Narrator(
            self.story,
            direct=Side(self.direct, direct.fleet.tally, direct.runaway),
            gate=Side(self.through, through.fleet.tally, through.runaway),
            clock=self._clock,
            hear=watcher.event,
        )
        narrator.say(self._opening())
        self._tasks.start("pictures", self._pictures(watcher))
        self._tasks.start("story", narrator.tell())
        self._tasks.start("news", narrator.follow(self.news))
        self._tasks.start("runaway news", narrator.tell_of_runaways())
        interrupted = await self._until_done()
        took_s = self._clock.now() - self._began_at
        watcher.show(self._picture())
        await self._tasks.close()
        if self._defects:
            raise self._defects[0]
        return await self._result(narrator, took_s, interrupted=interrupted)

    # --- while it runs -------------------------------------------------------------------------------------------

    async def _until_done(self) -> bool:
        """Whether it was ended before all agents were done."""
        working = {
            self._tasks.start(worker, fleet.work(runs, self._began_at))
            for fleet in self.fleets
            for worker, runs in self.timetable.items()
        }
        working |= {
            self._tasks.start(f"runaway {at}", side.runaway.run(self.story, self._began_at))
            for at, side in enumerate(self._sides)
        }
        over = self._tasks.start("end", self._end())
        while working and not self._stopping.is_set():  # bounded by `_end`
            _, pending = await asyncio.wait({*working, over}, return_when=asyncio.FIRST_COMPLETED)
            working = pending - {over}
        if not working:
            return self._stopping.is_set()
        await asyncio.wait(working, timeout=GRACE_S)
        return True

    async def _end(self) -> None:
        try:
            async with asyncio.timeout(self.script.seconds + LATE_S):
                await self._stopping.wait()
        except TimeoutError:
            self._stopping.set()

    async def _pictures(self, watcher: Watcher) -> None:
        while True:  # until it is cancelled
            await asyncio.sleep(watcher.every_s)
            watcher.show(self._picture())

    def _picture(self) -> Picture:
        direct, through = self.fleets
        bill = sum(invoice.usd_nanos for invoice in _invoices(self.direct))
        return Picture(
            at_s=self._clock.now() - self._began_at,
            seconds=self.script.seconds,
            direct=self._pace(direct, bill),
            gate=self._pace(through, self.gate.ledger.posted_usd_nanos),
            providers=tuple((name, _state(vendor)) for name, vendor in self.through.items()),
        )

    def _pace(self, fleet: Fleet, usd_nanos: int) -> Pace:
        tally = fleet.tally
        return Pace(
            calls_a_second=tally.calls_a_second(self._clock.now(), self._began_at),
            in_flight=tally.in_flight,
            calls=tally.calls,
            failed=tally.failed,
            first_token_p50_s=quantile(0.5, tally.first_tokens_s),
            usd_nanos=usd_nanos,
        )

    def _opening(self) -> str:
        return (
            f"no keys used: {len(self.timetable)} agents at work, {len(PROVIDERS)} made-up providers, a gate at "
            f"{self.gate.data_url}; its console: {self.gate.admin_url}; or: headgate top --admin {self.gate.admin_url}"
        )

    # --- at its end ----------------------------------------------------------------------------------------------

    async def _result(self, narrator: Narrator, took_s: float, *, interrupted: bool) -> Result:
        await self._settled()
        narrator.pass_on(self.news)
        said = await accounts(self.gate.ledger)
        ours = told(_invoices(self.through), said.purposes)
        runs = sum(1 for runs in self.timetable.values() for run in runs for _ in run.tree())
        direct, through = (fleet.tally for fleet in self.fleets)
        same = direct.completed & through.completed
        alone = self._seen(direct, self.direct, _invoices(self.direct), self._sides[0].runaway)
        guarded = self._seen(through, self.through, ours, self._sides[1].runaway)
        mine, theirs = column(runs, alone, same), column(runs, guarded, same)
        return Result(
            simulated=True,
            seed=self.script.seed,
            seconds=self.script.seconds,
            took_s=round(took_s, 1),
            interrupted=interrupted,
            direct=mine,
            gate=theirs,
            hedges=said.hedges,
            known=Known(*said.answered, saved_usd_nanos=self._saved()),
            budget_usd_nanos=runaway.BUDGET_USD_NANOS,
            overspend_usd_nanos=max(0, theirs.runaway.usd_nanos - runaway.BUDGET_USD_NANOS),
            check=checked(
                ours,
                said.purposes,
                ledger_usd_nanos=said.usd_nanos,
                estimated_attempts=said.estimated_attempts,
            ),
            agents=said.agents,
            trees=said.trees,
            events=narrator.events,
        )

    def _seen(self, tally: Tally, vendors: dict[str, Vendor], invoices: list[Invoice], wild: Runaway) -> Seen:
        return Seen(self.story, self._began_at, tally, tuple(vendors.values()), invoices, wild)

    def _saved(self) -> int:
        return sum(savings.saved_usd_nanos for savings in self.gate.metrics.caches.savings().values())

    async def _settled(self) -> None:
        for _ in range(SETTLE_LOOKS):
            if not self.gate.in_flight:
                return
            await asyncio.sleep(SETTLE_EACH_S)

    # --- construction --------------------------------------------------------------------------------------------

    async def _listen(self, vendor: Vendor, closing: AsyncExitStack) -> str:
        site = Site(vendor)
        closing.push_async_callback(site.stop)
        await site.start()
        return site.base_url

    async def _side(self, base_urls: dict[str, str], keys: dict[str, str], closing: AsyncExitStack) -> Agents:
        transport = HttpTransport()
        closing.push_async_callback(transport.close)
        clients = {
            agent: Client(transport, base_url, key=keys[agent], clock=self._clock)
            for agent, base_url in base_urls.items()
        }
        return Agents(
            fleet=Fleet(clients, clock=self._clock, stopping=self._stopping),
            runaway=Runaway(clients[runaway.AGENT], self.script.seed, clock=self._clock, stopping=self._stopping),
        )


def _vendors(seed: int, played: Story, clock: Clock) -> dict[str, Vendor]:
    return {name: Vendor(name, _simulation(seed, name), story=played, clock=clock) for name in PROVIDERS}


def _invoices(vendors: dict[str, Vendor]) -> list[Invoice]:
    return [invoice for vendor in vendors.values() for invoice in vendor.invoices.values()]


def _simulation(seed: int, name: str) -> Simulation:
    # One seed for all: an answer then depends on the conversation alone, not on who gave it, and a conversation is the
    # same in both columns.
    return Simulation(
        seed=seed,
        first_token_s=Spread(FIRST_TOKEN_S[name], 0.5),
        token_s=Spread(0.015, 0.3),
        output_tokens=Spread(24, 0.5),
    )


def _state(vendor: Vendor) -> str:
    window = vendor.window
    return "ok" if window is None else {"down": "down (500)", "slow": "slow"}[window.kind]
