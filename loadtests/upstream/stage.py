"""The scenario that plays now, how far each of its rules has come, and the books of what was played.

A change of the scenario holds from the next request on; scripts that run play to their end, and the books go on.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import IO

from .bill import Bill, Books
from .request import Request
from .scenario import Scenario
from .script import DEFAULT_TOKENS, Performance, Step, perform
from .wire import Wire

GOOD: tuple[Step, ...] = (("answer", {}),)


class Stage:
    """Without a scenario nothing is played and the canned answers stand. `usage` gets a line for each exchange that
    has ended."""

    def __init__(
        self, scenario: Scenario | None = None, *, answer_tokens: int = DEFAULT_TOKENS, usage: IO[str] | None = None
    ) -> None:
        self.bill = Bill()
        self.books = Books(self.bill, usage)
        self._answer_tokens = answer_tokens
        self.change(scenario)

    def change(self, scenario: Scenario | None) -> None:
        self.scenario = scenario
        rules = scenario.rules if scenario else ()
        seed = scenario.seed if scenario else 0
        self._fitting = [0] * len(rules)
        self._rngs = [Random(f"{seed}:{number}") for number in range(len(rules))]

    @property
    def bills_on(self) -> bool:
        return self.scenario is not None and self.scenario.abort == "continues"

    def script(self, request: Request) -> tuple[Step, ...] | None:
        """None: nothing is scripted for it."""
        if self.scenario is None:
            return None
        for number, rule in enumerate(self.scenario.rules):
            if rule.when.fits(request):
                self._fitting[number] += 1
                if rule.when.chosen(self._fitting[number], self._rngs[number]):
                    return rule.steps
        return GOOD if request.generates else None

    async def play(self, request: Request, wire: Wire, steps: tuple[Step, ...]) -> bool:
        """Whether the reply was whole, so that the connection may serve another. Cancelled when the client has left
        and that ends the bill."""
        loop = asyncio.get_running_loop()
        entry = self.books.open(
            path=request.path.decode("latin-1"),
            model=request.model.decode().strip('"'),
            nonce=request.nonce.decode(),
            streamed=request.streamed,
            asked_at=loop.time(),
        )
        performance = Performance(request, wire, entry, answer_tokens=self._answer_tokens)
        try:
            await perform(performance, steps)
        finally:
            self.books.close(entry, ended=performance.ended, at=loop.time())
        return performance.complete
