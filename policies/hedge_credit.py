"""What hedges may cost: three allowances beside the attempt budget of the gate, and all of them must agree.

A route earns a share of a hedge with each of its primaries that ends; a tenant earns a share of what it has paid; a run
has a number of hedges, and none may take more than a sliver of what the run has left. A bucket that starts with little
and fills up to a burst keeps the share over any stretch of time, after Dean and Barroso, "The Tail at Scale" (2013).
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from policies.recent import Recent
from proxy.observed import NoHedgeKind
from proxy.tenancy import run_of, tenant
from proxy.types import Call

Short = tuple[NoHedgeKind, str]

KEPT_MAX: Final = 4_096  # routes, tenants, runs
USD: Final = 1_000_000_000  # nano-dollars
USUAL_WEIGHT: Final = 0.05  # of an attempt, in what is usual for its tenant
ROUNDING: Final = 1e-9  # fifty deposits of a fiftieth are one hedge, whatever binary fractions say


class CreditRules(Struct, frozen=True):
    burst: float = 20.0  # hedges of a route at once, all its targets and sizes together
    start: float = 5.0  # what a route begins with: a short life must not consist of bursts
    burst_usd_nanos: int = USD // 2  # of a tenant, who begins with it; or `burst` of its usual calls, if that is more
    run_hedges_max: int = 2
    run_share: float = 0.05  # of what a run has left, for one hedge


class _Credit:
    __slots__ = ("balance", "most")

    def __init__(self, balance: float) -> None:
        self.balance = self.most = balance  # what it would be if nothing had been taken


class _Money:
    """Nano-dollars: what a tenant has earned, and what its attempts cost on average."""

    __slots__ = ("balance", "usual")

    def __init__(self, balance: float) -> None:
        self.balance = balance
        self.usual = 0.0


class Credits:
    def __init__(self, rules: CreditRules) -> None:
        self._rules = rules
        self._routes: Recent[str, _Credit] = Recent(KEPT_MAX, lambda: _Credit(self._rules.start))
        self._tenants: Recent[str, _Money] = Recent(KEPT_MAX, lambda: _Money(float(self._rules.burst_usd_nanos)))
        self._runs: Recent[str, _Credit] = Recent(KEPT_MAX, lambda: _Credit(float(self._rules.run_hedges_max)))

    def __repr__(self) -> str:
        return f"Credits({len(self._routes)} routes, {len(self._tenants)} tenants, {len(self._runs)} runs)"

    def replace(self, rules: CreditRules) -> None:
        """For what is earned and begun from now on; what was earned stays."""
        self._rules = rules

    def ended(self, call: Call, share: float) -> None:
        """A primary of the route has ended, and `share` of a hedge is earned."""
        credit = self._routes.get(call.route)
        credit.balance = min(self._rules.burst, credit.balance + share)
        credit.most = min(self._rules.burst, credit.most + share)

    def fullness(self, call: Call) -> float:
        """What is left of all that the route could have saved up by now, from 0 to 1."""
        route = self._routes.get(call.route)
        return route.balance / route.most if route.most > 0.0 else 0.0

    def settled(self, call: Call, usd_nanos: int, share: float) -> None:
        """So much was paid for an attempt, of which a share is earned. Half a dollar is many cheap calls; of those with
        long prompts it is one or two, and the next ones that are late would wait for money to come in."""
        money, rules = self._tenants.get(tenant(call.identity)), self._rules
        money.usual += (usd_nanos - money.usual) * USUAL_WEIGHT
        most = max(float(rules.burst_usd_nanos), rules.burst * money.usual)
        money.balance = min(most, money.balance + usd_nanos * share)

    def withdraw(self, call: Call, *, cost_usd_nanos: int, left_usd_nanos: int | None) -> Short | None:
        """Takes one hedge of this price; a word on what is short where it may not be, and then nothing is taken.

        `left_usd_nanos` is what the call's budgets have free; None: no budget limits its money."""
        route = self._routes.get(call.route)
        if route.balance < 1.0 - ROUNDING:
            return "class_budget", "the route's hedges are used up for now"
        money = self._tenants.get(tenant(call.identity))
        if money.balance < cost_usd_nanos:
            return "usd_budget", "the tenant's money for hedges is used up for now"
        if left_usd_nanos is not None and cost_usd_nanos > left_usd_nanos * self._rules.run_share:
            return "usd_budget", "it would cost too much of what the budget has left"
        id = run_of(call.identity)
        run = None if id is None else self._runs.get(id)
        if run is not None and run.balance < 1.0:
            return "run_budget", "its run has had its hedges"
        if run is not None:
            run.balance -= 1.0
        route.balance -= 1.0
        money.balance -= cost_usd_nanos
        return None
