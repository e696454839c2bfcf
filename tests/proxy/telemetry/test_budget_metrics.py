"""The series of budgets: closed labels, sums, what is gone goes to zero."""

from __future__ import annotations

from msgspec import structs

from policies.accounts import Accounts
from policies.limits import Instant, Limit, LimitsByName, Reason, Refusal, Shortfall
from proxy.telemetry.metrics import Metrics
from proxy.types import Amounts, Charge, Period
from tests.proxy.telemetry.samples import FAST, OUTCOME

DOLLAR = 10**9
MIDNIGHT = 20_000 * 86_400.0
AT = Instant(0.0, MIDNIGHT)


class Scrape:
    def __init__(self) -> None:
        self.metrics = Metrics(["m"], [FAST], agents=["planner"])
        self.budgets = self.metrics.of_budgets()
        self.budgets.learn(["agent:planner", "team:t"])

    def values(self, name: str) -> dict[str, float]:
        """By the labels, as they are written, without those at zero."""
        lines = self.metrics.exposition("")[0].decode().splitlines()
        found = (line.rpartition(" ") for line in lines if line.startswith(f"headgate_{name}{{"))
        return {labels.partition("{")[2].rstrip("}"): float(value) for labels, _, value in found if float(value)}


def standing_accounts(*names: str) -> Accounts:
    rules = LimitsByName(
        {}, {"agent": (Limit("usd", 2 * DOLLAR, "day"), Limit("usd", DOLLAR, "run")), "team": (Limit("tokens", 5),)}
    )
    accounts = Accounts(rules)
    for name in names:
        path = ("team:t", name, f"run:{name}")
        accounts.reserve(name, path, ask=lambda left: Amounts(DOLLAR // 2), at=AT, ttl_s=60.0)
    return accounts


def test_limits_in_money_are_shown_by_the_names_that_the_configuration_knows() -> None:
    scrape = Scrape()
    accounts = standing_accounts("agent:planner", "agent:x", "agent:y")
    accounts.post("agent:x", Amounts(DOLLAR // 4))
    scrape.budgets.show([each for name in accounts.names for each in accounts.state(name, at=AT)])
    planner, other, runs = (
        'budget="agent:planner",window="day"',
        'budget="other",window="day"',
        'budget="run",window="total"',
    )
    assert scrape.values("budget_limit_usd") == {planner: 2.0, other: 4.0, runs: 3.0}
    assert scrape.values("budget_spent_usd") == {other: 0.25, runs: 0.25}
    assert scrape.values("budget_held_usd") == {planner: 0.5, other: 0.5, runs: 1.0}
    assert scrape.values("budget_resets_timestamp_seconds") == {planner: MIDNIGHT + 86_400, other: MIDNIGHT + 86_400}
    scrape.budgets.show([])
    assert scrape.values("budget_limit_usd") == {}


def test_refusals_are_counted_by_limit_and_reason_and_exist_before_the_first() -> None:
    scrape = Scrape()
    assert (
        'headgate_budget_denied_total{budget="team:t",reason="floor"} 0.0' in scrape.metrics.exposition("")[0].decode()
    )

    def short(account: str, reason: Reason) -> Shortfall:
        period = Period(account, "usd", "day", 1, account)
        return Shortfall(period, limit=1, spent=1, held=0, needed=1, resets_wall=None, reason=reason)

    scrape.budgets.denied(Refusal((short("team:t", "spent"), short("agent:typed-by-a-client", "queue")), 0.0))
    scrape.budgets.denied(Refusal((short("run:r", "held"), short("team:t", "spent"), short("key:abc", "floor")), 0.0))
    assert scrape.values("budget_denied_total") == {
        'budget="team:t",reason="spent"': 2.0,
        'budget="other",reason="queue"': 1.0,
        'budget="run",reason="held"': 1.0,
        'budget="key",reason="floor"': 1.0,
    }


def test_what_a_call_overran_counts_once_for_its_provider() -> None:
    scrape = Scrape()
    usd = Period("agent:a", "usd", "day", 1, "agent:a")
    tokens = structs.replace(usd, unit="tokens")
    charges = (Charge(usd, DOLLAR, DOLLAR // 2), Charge(usd, DOLLAR, DOLLAR // 4), Charge(tokens, 900, 800))
    scrape.budgets.observe(structs.replace(OUTCOME, charges=charges))
    scrape.budgets.observe(OUTCOME)
    assert scrape.values("budget_overrun_usd_total") == {'provider="p1"': 0.5}
