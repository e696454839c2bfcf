"""What one process shares with other gates, put together: rate limits and answers over one link, kept up and let go.

Loaded where a store is configured, and nowhere else. Each process that serves has connections of its own, so none waits
for another and a limit needs no second arithmetic between them: in the store, a worker is one holder of slices like any
other.
"""

from __future__ import annotations

import asyncio

from msgspec import Struct

from policies.rate_limit import Account, Rates
from policies.shared_rate import SharedAccount
from proxy.clock import Clock
from proxy.shared.answers import SharedAnswers
from proxy.shared.link import BEAT_S, Link
from proxy.shared.rates import SharedRates
from proxy.tasks import Tasks


class Terms(Struct, frozen=True):
    processes: int  # of this gate
    gates: int
    prefix: str  # of every key in the store
    secret: bytes | None  # that seals answers; None: no answer leaves the process


class Together:
    """Implements `proxy.sharing.Sharing`."""

    def __init__(self, link: Link, clock: Clock, *, tasks: Tasks, terms: Terms) -> None:
        self._link = link
        self._terms = terms
        self._open = True
        self.rates = SharedRates(link, clock, tasks, terms.prefix)
        self.answers: SharedAnswers | None = None
        if terms.secret is not None:
            self.answers = SharedAnswers(link, clock, tasks, prefix=terms.prefix, secret=terms.secret)

    def __repr__(self) -> str:
        return f"Together({self._link}, {self.rates}, {self.answers})"

    @property
    def dropped(self) -> int:
        return 0 if self.answers is None else self.answers.dropped

    def opening(self, name: str, rates: Rates) -> Account:
        holders = self._terms.processes * self._terms.gates
        return SharedAccount(name, rates, processes=self._terms.processes, holders=holders)

    def health(self) -> str:
        return "ok" if self._link.up else "out"

    async def keep(self) -> None:
        """Until it is cancelled, or closed."""
        await self.rates.greet()
        while self._open:
            if self._link.up:
                await self.rates.settle()
                if self.answers is not None:
                    await self.answers.settle()
                await self._link.beat()
            else:
                await self._link.probe()
            await asyncio.sleep(BEAT_S)

    async def close(self) -> None:
        self._open = False
        await self.rates.close()
        await self._link.close()
