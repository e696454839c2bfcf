"""Ledger, accounts, journal and budgets of one process, put together as the gate does; it can be stopped or killed.

The ledger has no thread: what is appended is on the disk after `flush`, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random

from msgspec.structs import replace

from policies.accounts import Accounts
from policies.limits import Instant, Limit, LimitsByName, Rulebook, Totals
from proxy.errors import ProxyError
from proxy.holds import Reservation
from proxy.money.budgets import Budgets
from proxy.money.keeping import Keeper
from proxy.money.restoring import open_books
from proxy.state.ledger import Ledger
from proxy.types import Amounts, Charge, Period
from tests.money import News
from tests.proxy.state.samples import attempt, call, outcome

RULES = LimitsByName(
    {
        "key:k": (Limit("usd", 10**6), Limit("requests", 10**6), Limit("concurrency", 100)),
        "agent:a": (Limit("usd", 10**6, "run", soft=True), Limit("tokens", 10**6, "day")),
    }
)
PATH = ("key:k", "agent:a", "run:r")
NOON = 1_800_000_000.0 - 1_800_000_000.0 % 86_400 + 43_200


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at, self.at_wall = 1_000.0, NOON

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return self.at_wall

    def id(self) -> str:
        return "0" * 32

    def rng(self, purpose: str) -> Random:
        return Random(purpose)


class House:
    def __init__(self, folder: Path, rules: Rulebook = RULES, clock: Hands | None = None) -> None:
        self.folder, self.rules = folder, rules
        self.clock = clock or Hands()
        self.told: list[tuple[str, str, Mapping[str, str | int]]] = []
        self.open()

    def open(self) -> None:
        self.ledger = Ledger.open(self.folder / "ledger.db", wall=self.clock.wall)
        accounts = Accounts(self.rules)
        self.books, self.restored = open_books(self.ledger, accounts, self.folder, self.clock)
        self.budgets = Budgets(accounts, self.clock, News(), witness=self.books)
        self.keeper = Keeper(self.books, self.budgets, self.clock, self.tell, checkpoint=self.restored.checkpoint)

    def tell(self, event: str, level: str, fields: Mapping[str, str | int]) -> None:
        self.told.append((event, level, fields))

    def stop(self) -> None:
        self.keeper.close()

    def kill(self) -> None:
        """What the kernel does to a process: files are closed, what was not written is gone."""
        self.ledger._connection.close()
        self.books.journal.close()

    def restart(self) -> None:
        self.stop()
        self.open()

    def crash(self) -> None:
        self.kill()
        self.open()

    async def reserve(self, id: str, draw: Amounts, path: tuple[str, ...] = PATH) -> Reservation | ProxyError:
        return await self.budgets.reserve(id, path, lambda left: draw, ttl_s=60.0)

    async def hold(self, id: str, usd_nanos: int = 100, path: tuple[str, ...] = PATH) -> Reservation:
        draw = Amounts(usd_nanos, tokens=usd_nanos, requests=1, steps=1, concurrency=1, soft_usd_nanos=usd_nanos // 2)
        reserved = await self.reserve(id, draw, path)
        assert isinstance(reserved, Reservation), reserved
        return reserved

    def post(self, reservation: Reservation, usd_nanos: int) -> tuple[Charge, ...]:
        return self.budgets.post(reservation, Amounts(usd_nanos, tokens=usd_nanos))

    def record(self, id: str, charges: tuple[Charge, ...] = ()) -> None:
        self.books.append(replace(outcome(call(id), attempt()), charges=charges))

    async def whole_call(self, id: str, usd_nanos: int = 100, *, cost: int = 40, path: tuple[str, ...] = PATH) -> None:
        self.record(id, self.post(await self.hold(id, usd_nanos, path), cost))

    @property
    def totals(self) -> dict[Period, Totals]:
        """Of what was counted anywhere."""
        at, accounts = Instant(self.clock.now(), self.clock.wall()), self.budgets.accounts
        standings = [standing for name in accounts.names for standing in accounts.look(name, at=at)]
        return {standing.period: standing.totals for standing in standings if standing.totals != Totals()}

    def of(self, account: str, unit: str) -> Totals:
        found = [totals for period, totals in self.totals.items() if (period.account, period.unit) == (account, unit)]
        return found[0] if found else Totals()
