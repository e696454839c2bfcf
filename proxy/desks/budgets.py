"""What one process knows and tells of its budgets, connected: news, outlook, metrics.

The arithmetic (`policies.accounts`) and the queues (`proxy.money.budgets`) are made elsewhere and know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from policies.accounts import Accounts
from policies.ladder import Ladder
from policies.limits import Standing
from proxy.assembly import Assembly
from proxy.budget_news import BudgetNews, Events
from proxy.clock import Clock
from proxy.money.outlook import Names, Outlook
from proxy.telemetry.log import RequestLog
from proxy.telemetry.metrics import Metrics


class BudgetDesk:
    def __init__(
        self, assembly: Assembly, accounts: Accounts, *, clock: Clock, log: RequestLog, events: Events, metrics: Metrics
    ) -> None:
        self._assembly = assembly
        self.metrics = metrics.of_budgets()
        self.outlook = Outlook(accounts, clock, Names(self._configured, self._ladder))
        self.news = BudgetNews(log, events, self.metrics, self.outlook.charged)
        self.learn()

    def __repr__(self) -> str:
        return f"BudgetDesk({self.outlook!r}, {self.news!r})"

    def learn(self) -> None:
        self.metrics.learn(name for name in self._configured() if not name.startswith("key:"))

    async def watch(self) -> None:
        """Until it is cancelled."""
        await self.outlook.watch(self._show)

    def _show(self, standings: list[Standing]) -> None:
        self.learn()  # keys are made while the gate runs
        self.metrics.show(standings)

    def _configured(self) -> tuple[str, ...]:
        assembly = self._assembly
        rules = assembly.present.rulebook
        return tuple(name for name in self._named(assembly) if rules.limits(name))

    def _named(self, assembly: Assembly) -> Iterator[str]:
        yield from assembly.present.rulebook.configured.named
        yield from (f"agent:{agent}" for agent in assembly.agents(assembly.config))
        yield from (f"key:{stored.id}" for stored in assembly.keys.list() if stored.revoked_wall is None)

    def _ladder(self, account: str) -> Ladder:
        kind, _, name = account.partition(":")
        snapshot = self._assembly.snapshot
        return snapshot.rules(name).on_budget if kind == "agent" else snapshot.default_rules.on_budget
