"""What answers calls, as the gate sees it: its own data plane, or a supervisor with workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proxy.caching.stock import Gone, Purge, Stock
from proxy.config.load import Config
from proxy.execution.given import Word
from proxy.runs.registry import Applied, RunCommand, RunState
from proxy.state.target_report import Standing


class Serving(Protocol):
    @property
    def in_flight(self) -> int: ...
    async def start(self) -> None: ...
    async def stop(self) -> None:
        """No new connections; calls that run may end within `limits.drain_s`."""
        ...

    async def prepare(self, config: Config) -> str | None:
        """Why it cannot be used."""
        ...

    def swap(self, config: Config) -> None: ...
    async def apply(self, command: RunCommand) -> Applied: ...
    async def look(self, runs: Sequence[str], named: str = "") -> list[RunState]: ...
    async def survey(self) -> list[Standing]:
        """How each target stands that is configured by name."""
        ...

    async def stock(self) -> Stock:
        """The known answers that are kept, of all processes."""
        ...

    async def purge(self, purge: Purge) -> Gone:
        """Takes known answers away, in all processes."""
        ...

    async def heed(self, word: Word) -> int:
        """What somebody says of answers, in all processes: how many of them it was about."""
        ...

    def kill(self) -> None:
        """Processes that serve, if they are others, end at once."""
        ...
