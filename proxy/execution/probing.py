"""Asks the providers of targets that are out whether they are well again, by a question that costs nothing.

Every ten seconds or so each of them gets one question, in a task of its own, bounded in time and in number. An answer
of 2xx ends the wait of what is open there; whether calls succeed is left to their trials. Providers that are configured
for it are asked while all is well, too: there, some questions in vain in a row take their targets out. Which question
is free is the provider's business; what follows from an answer is decided in `policies.breaker`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Final

from policies.breaker import Breakers
from proxy.alarm import Alarm
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.providers.base import Provider
from proxy.tasks import Tasks

EVERY_S: Final = 10.0
JITTER: Final = 0.1  # other gates ask the same providers
TIMEOUT_S: Final = 5.0
ASKING_MAX: Final = 32  # at the same time


class Probing:
    def __init__(
        self, breakers: Breakers, clock: Clock, tasks: Tasks, providers: Callable[[], Mapping[str, Provider]]
    ) -> None:
        """`providers`: those of the configuration in force."""
        self._breakers = breakers
        self._clock = clock
        self._tasks = tasks
        self._providers = providers
        self._asking: dict[str, None] = {}
        self._round = 0
        self._rounds: dict[str, int] = {}  # in which a provider was asked last
        self._rng = clock.rng("probing")

    def __repr__(self) -> str:
        return f"Probing(asking {list(self._asking)})"

    async def keep(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_S * (1 + JITTER * (2 * self._rng.random() - 1)))
            self.ask()

    def ask(self) -> None:
        """One round. Who has not answered the last one is not asked again."""
        providers = self._providers()
        checked = [name for name, provider in providers.items() if provider.checked]
        due = dict.fromkeys(chain(self._breakers.due_probes(self._clock.now()), checked))
        fresh = [name for name in due if name in providers and name not in self._asking]
        fresh.sort(key=lambda name: self._rounds.get(name, 0))  # who has waited longest for a question
        self._round += 1
        for name in fresh[: ASKING_MAX - len(self._asking)]:
            self._asking[name] = None
            self._rounds[name] = self._round
            self._tasks.start(f"probe {name}", self._probe(name, providers[name]))

    async def _probe(self, name: str, provider: Provider) -> None:
        try:
            well = await self._is_well(provider)
        finally:
            del self._asking[name]
        if well:
            self._breakers.probe_passed(name, self._clock.now())
        elif well is not None and provider.checked:
            self._breakers.probe_failed(name, now=self._clock.now(), rng=self._rng)

    async def _is_well(self, provider: Provider) -> bool | None:
        """None: it is not to be asked."""
        request = provider.health()
        if request is None:
            return None
        try:
            with Alarm(self._clock.now() + TIMEOUT_S):
                response = await provider.transport.send(request)
        except (TimeoutError, ProxyError):
            return False
        response.close()  # what it says beyond its status is of no interest, and may be long
        return 200 <= response.status < 300
