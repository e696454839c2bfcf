"""A store for tests: real budgets with limits that nobody reaches, so that every sum can be asked for."""

from __future__ import annotations

from msgspec import Struct

from policies.accounts import Accounts
from policies.limits import Crossing, Instant, Limit, LimitsByName, Refusal, Rulebook
from proxy.clock import Clock
from proxy.money.budgets import Budgets, Waiting
from proxy.types import Charge

KINDS = ("team", "key", "agent", "run")
WIDE = LimitsByName({}, {kind: (Limit("usd", 10**18), Limit("tokens", 10**15)) for kind in KINDS})


class Sums(Struct, frozen=True):
    held_usd_nanos: int = 0
    held_tokens: int = 0
    posted_usd_nanos: int = 0
    posted_tokens: int = 0


class News:
    """What budgets told."""

    def __init__(self) -> None:
        self.crossings: list[Crossing] = []
        self.charges: list[Charge] = []
        self.overruns: list[Charge] = []
        self.refusals: list[Refusal] = []

    def crossed(self, crossing: Crossing) -> None:
        self.crossings.append(crossing)

    def overran(self, charge: Charge) -> None:
        self.overruns.append(charge)

    def charged(self, charges: tuple[Charge, ...]) -> None:
        self.charges += charges

    def denied(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)


class WatchedBudgets(Budgets):
    def __init__(self, clock: Clock, rules: Rulebook = WIDE, waiting: Waiting | None = None) -> None:
        self.news = News()
        super().__init__(Accounts(rules), clock, self.news, waiting)

    def account(self, name: str) -> Sums:
        """Over the windows of one limit in money and one in tokens."""
        never = Instant(0.0, 0.0)  # these windows never end, and a world that is over has no clock
        found = {standing.period.unit: standing for standing in self.accounts.state(name, at=never)}
        usd, tokens = found["usd"], found["tokens"]
        return Sums(
            held_usd_nanos=usd.held,
            held_tokens=tokens.held,
            posted_usd_nanos=usd.totals.spent + usd.totals.overrun,
            posted_tokens=tokens.totals.spent + tokens.totals.overrun,
        )
