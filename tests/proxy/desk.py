"""The operator's desk over a real ledger, for tests: what the composition root connects, without a gate around it."""

from __future__ import annotations

from policies.limits import Rulebook
from proxy.clock import SystemClock
from proxy.errors import ProxyError
from proxy.money.correcting import LedgerTools
from proxy.money.quoting import QuoteRequest
from proxy.runs.governor import Governor, recall
from proxy.runs.registry import Runs
from proxy.runs.views import RunViews
from proxy.secret import Secret
from proxy.state.ledger import Ledger
from proxy.state.quote_report import Quote
from proxy.state.run_queries import RunReports
from proxy.surfaces.admin_guard import Audit, Guard, Rules
from proxy.surfaces.admin_ledger import LedgerRoutes, LedgerServices
from proxy.surfaces.admin_runs import RunRoutes, RunServices
from tests.money import WIDE, WatchedBudgets


class Desk:
    def __init__(self, ledger: Ledger, rules: Rulebook = WIDE) -> None:
        self.clock = SystemClock(seed=1)
        self.ledger = ledger
        self.over: list[frozenset[str]] = []  # runs that were said to be killed
        self.runs = Runs(self.clock, over=self.over.append)
        self.budgets = WatchedBudgets(self.clock, rules)
        self.views = RunViews(RunReports(ledger), self.budgets, self.runs.look)
        self.governor = Governor(self.runs, self.budgets, ledger, self.views.seen, apply=self.runs.apply)
        self.governor.restore(ledger.read_now(lambda connection: recall(connection, self.clock.wall())))
        self.services = RunServices(self.views, self.governor, self.clock.wall, self.clock.id)
        self.ledger_services = LedgerServices(LedgerTools(ledger, self.budgets), _no_quotes, self.clock.wall)
        self.audit: list[Audit] = []

    def guard(self, token: str | None = None) -> Guard:
        """Before an admin listener that knows of nothing else."""
        rules = Rules(self.audit.append, Secret(token) if token else None, frozenset(), ())
        return Guard(rules, [*RunRoutes(self.services).routes(), *LedgerRoutes(self.ledger_services).routes()])


async def _no_quotes(asked: QuoteRequest) -> Quote:
    raise ProxyError("internal", "this desk has no models")
