"""Accounts against the same rules written naively, under any sequence of calls, reloads, restarts and clock jumps.

Interleavings of concurrent calls are sequences here, because nothing in `Accounts` awaits.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policies.accounts import Accounts, Hold
from policies.limits import Instant, Limit, Posting, Refusal
from proxy.types import Amounts, Period
from tests.effort import examples
from tests.policies.budget_model import Model, Sums, fits, need
from tests.policies.rulebook import START, Rules

PATHS = [
    ("key:k", "agent:a", "run:p"),
    ("key:k", "agent:a", "run:p", "run:c"),
    ("key:k", "agent:b", "run:p"),
    ("key:k", "agent:b"),
]


small = st.integers(0, 40)
draws = st.builds(
    Amounts,
    usd_nanos=small,
    tokens=small,
    requests=st.integers(0, 1),
    concurrency=st.integers(0, 1),
    soft_usd_nanos=st.none() | st.integers(0, 20),
)
used = st.builds(Amounts, usd_nanos=st.integers(0, 80), tokens=st.integers(0, 60))
ids = st.sampled_from("abcdefgh")
amounts = st.integers(0, 120)


def rulebook(sizes: list[int]) -> Rules:
    a, b, c, d, e, f = sizes
    return Rules(
        {
            "key:k": (Limit("usd", a + 100, "day"), Limit("concurrency", 3), Limit("usd", b, "run", soft=b % 2 == 0)),
            "agent:a": (Limit("usd", c, "run"), *([Limit("tokens", d, "minute")] if d % 3 else [])),
            "agent:b": (Limit("requests", f % 5, "minute"), Limit("usd", e)),
        }
    )


rulebooks = st.lists(amounts, min_size=6, max_size=6).map(rulebook)


class AccountsMachine(RuleBasedStateMachine):
    @initialize(rules=rulebooks)
    def begin(self, rules: Rules) -> None:
        self.now, self.wall = 0.0, START
        self.accounts, self.model = Accounts(rules), Model(rules)
        self.live: dict[str, tuple[Amounts, float]] = {}
        self.topups: dict[str, list[Period]] = {}

    @property
    def at(self) -> Instant:
        return Instant(self.now, self.wall)

    def holding(self, id: str) -> dict[Period, Sums]:
        return {period: sums for period, sums in self.model.periods.items() if id in sums.holds}

    @rule(id=ids, path=st.sampled_from(PATHS), draw=draws, ttl_s=st.integers(1, 90))
    def reserve(self, id: str, path: tuple[str, ...], draw: Amounts, ttl_s: int) -> None:
        answer = self.accounts.reserve(id, path, ask=lambda left: draw, at=self.at, ttl_s=ttl_s)
        asked = {period: self.model.periods[period] for period in self.model.open(path, self.wall)}
        if id in self.live:
            assert isinstance(answer, Hold) and answer.id == id
            return
        refused = {period for period, sums in asked.items() if not fits(sums, need(period, sums, draw))}
        if refused:
            assert isinstance(answer, Refusal)
            assert {shortfall.period for shortfall in answer.shortfalls} == refused
            return
        assert isinstance(answer, Hold) and set(answer.windows.periods) == set(asked)
        for period, sums in asked.items():
            sums.holds[id] = need(period, sums, draw)
        self.live[id] = (draw, self.now + ttl_s)

    @rule(id=ids, total=draws)
    def extend(self, id: str, total: Amounts) -> None:
        answer = self.accounts.extend(id, total, wall=self.wall)
        if id not in self.live:
            assert answer is None
            return
        raised = {period: max(sums.holds[id], need(period, sums, total)) for period, sums in self.holding(id).items()}
        if any(not fits(sums, raised[period] - sums.holds[id]) for period, sums in self.holding(id).items()):
            assert isinstance(answer, Refusal)
            return
        assert isinstance(answer, Hold)
        for period, sums in self.holding(id).items():
            sums.holds[id] = raised[period]

    @rule(id=ids, bill=used)
    def post(self, id: str, bill: Amounts) -> None:
        answer = self.accounts.post(id, bill)
        if id not in self.live:
            assert answer is None
            return
        assert answer is not None
        overruns: dict[Period, int] = {}
        crossings: set[tuple[Period, int]] = set()
        for period, sums in self.holding(id).items():
            held = sums.holds.pop(id)
            cost = {"usd": bill.usd_nanos, "tokens": bill.tokens, "concurrency": 0}.get(period.unit, held)
            sums.sums["S"] += min(cost, held)
            overruns[period] = sums.charge(max(0, cost - held))
            crossings |= {(period, percent) for percent in sums.cross()}
        del self.live[id]
        self.agree(answer, overruns, crossings)

    def agree(self, posting: Posting, overruns: dict[Period, int], crossings: set[tuple[Period, int]]) -> None:
        assert {each.period: each.overrun for each in posting.charges if each.overrun} == {
            p: e for p, e in overruns.items() if e
        }
        assert {(each.period, each.percent) for each in posting.crossings} == crossings
        assert len(posting.crossings) == len(crossings)

    @rule(id=ids)
    def void(self, id: str) -> None:
        assert self.accounts.void(id) is (id in self.live)
        for sums in self.holding(id).values():
            del sums.holds[id]
        self.live.pop(id, None)

    @rule(bill=used)
    def expire(self, bill: Amounts) -> None:
        found = self.accounts.expire(self.now)
        assert {hold.id for hold in found} == {id for id, (_, until) in self.live.items() if until <= self.now}
        for hold in found:
            self.post(hold.id, bill)

    @rule(index=st.integers(0, 30), difference=st.integers(-60, 60))
    def adjust(self, index: int, difference: int) -> None:
        if not self.model.periods:
            return
        period = list(self.model.periods)[index % len(self.model.periods)]
        bill = Amounts(usd_nanos=difference, tokens=difference)
        answer = self.accounts.adjust((period,), bill, at=self.at)
        opened = self.model.known(period.account, self.wall)
        overrun, crossed = 0, set()
        if period in opened and period.unit in ("usd", "tokens"):
            sums = self.model.periods[period]
            overrun = sums.charge(max(0, difference))
            sums.refund(max(0, -difference))
            crossed = {(period, percent) for percent in sums.cross()} if difference else set()
        self.agree(answer, {period: overrun}, crossed)

    @rule(id=st.sampled_from("xyz"), account=st.sampled_from(["key:k", "agent:a", "run:p"]), amount=st.integers(1, 60))
    def topup(self, id: str, account: str, amount: int) -> None:
        answer = self.accounts.topup(id, account, unit="usd", amount=amount, at=self.at)
        if id not in self.topups:
            raised = [period for period in self.model.known(account, self.wall) if period.unit == "usd"]
            for period in raised:
                sums = self.model.periods[period].sums
                sums["G"] += amount
                sums["F"] = sums["V"]
            if raised:
                self.topups[id] = raised
        assert set(answer) == set(self.topups.get(id, []))

    @rule(rules=rulebooks)
    def reload(self, rules: Rules) -> None:
        self.accounts.replace(rules)
        self.model.rules = rules
        for period, sums in self.model.periods.items():
            if self.model.is_open(period):
                for limit in rules.limits(period.carrier):
                    if (limit.unit, limit.per) == (period.unit, period.per):
                        sums.limit, sums.soft = limit.amount, limit.soft

    @rule()
    def restart(self) -> None:
        """Everything has ended; the balances come back from the ledger, the ids do not."""
        for id in list(self.live):
            self.void(id)
        standings = [s for name in self.names() for s in self.accounts.state(name, at=Instant(self.now, 0.0))]
        self.accounts = Accounts(self.model.rules)
        for standing in standings:
            assert self.accounts.seed(standing.period, standing.totals, at=self.at)
            sums = self.model.periods[standing.period]
            sums.told = sums.reached()
        self.model.forget_unlimited()  # what the ledger has of them comes back to nobody
        for name in self.names():
            self.model.known(name, self.wall)
        self.topups.clear()

    @rule(passed=st.sampled_from([0, 1, 30, 61]), jump=st.sampled_from([0, 0, 0, -100_000, -61, 90_000]))
    def time(self, passed: int, jump: int) -> None:
        self.now += passed
        self.wall = max(START / 2, self.wall + passed + jump)

    def names(self) -> list[str]:
        return sorted({period.account for period in self.model.periods})

    @rule(path=st.sampled_from(PATHS))
    def left(self, path: tuple[str, ...]) -> None:
        found = self.accounts.room(path, at=self.at).usd_nanos
        rooms = [
            max(0, sums.room()) if fits(sums, 0) else 0
            for period in self.model.open(path, self.wall)
            if period.unit == "usd" and (sums := self.model.periods[period])
        ]
        assert found == min(rooms, default=None)

    @invariant()
    def the_same_is_counted(self) -> None:
        assert self.accounts.live == len(self.live)
        for name in self.names():
            # Wall time 0: the clock is far back, so that looking opens no window.
            for standing in self.accounts.state(name, at=Instant(self.now, 0.0)):
                sums = self.model.periods[standing.period]
                assert self.model.is_open(standing.period)
                totals = standing.totals
                assert standing.limit == sums.limit + sums.sums["G"]
                assert (totals.spent, totals.overrun) == (sums.sums["S"], sums.sums["V"])
                assert (totals.granted, totals.forgiven) == (sums.sums["G"], sums.sums["F"])
                assert standing.held == sum(sums.holds.values())
                assert min(totals.spent, totals.overrun, standing.held) >= 0

    def teardown(self) -> None:
        for id in list(getattr(self, "live", {})):
            self.accounts.void(id)
            for sums in self.holding(id).values():
                del sums.holds[id]
        self.live = {}
        if hasattr(self, "accounts"):
            self.the_same_is_counted()


class LongAccountsMachine(AccountsMachine):
    pass


AccountsMachine.TestCase.settings = settings(examples(100), stateful_step_count=40)
LongAccountsMachine.TestCase.settings = settings(examples(600), stateful_step_count=60)
TestAccounts = AccountsMachine.TestCase
TestAccountsAtLength = pytest.mark.slow(LongAccountsMachine.TestCase)
