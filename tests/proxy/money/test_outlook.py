"""What people are shown of budgets: the most used first, with rates, forecasts, paces and rungs; bounded."""

from __future__ import annotations

import asyncio

from policies.accounts import Accounts
from policies.ladder import Ladder
from policies.limits import Instant, Limit, LimitsByName, Standing
from proxy.clock import SystemClock, loop_time
from proxy.money.outlook import RATES_MAX, Names, Outlook, Query
from proxy.state.budget_report import BudgetRow
from proxy.types import Amounts, Charge, Period

DAY = 86_400.0
MIDNIGHT = 20_000 * DAY
DOLLAR = 10**9
LIMITS = LimitsByName(
    {
        "agent:planner": (Limit("usd", 10 * DOLLAR, "day"), Limit("usd", DOLLAR, "run")),
        "team:t": (Limit("tokens", 50),),
    },
    {"agent": (Limit("usd", DOLLAR, "day"),)},
)


class Shown(SystemClock):
    """The wall clock shows what a test says."""

    def __init__(self, wall: float) -> None:
        super().__init__(1, now=loop_time)
        self.shown = wall

    def wall(self) -> float:
        return self.shown


class Desk:
    def __init__(self, at: float = 0.0) -> None:
        self.clock = Shown(MIDNIGHT + at)
        self.accounts = Accounts(LIMITS)
        self.outlook = Outlook(self.accounts, self.clock, Names(self.configured, self.ladder))
        self._calls = 0

    def configured(self) -> tuple[str, ...]:
        return tuple(LIMITS.named)

    def ladder(self, account: str) -> Ladder:
        return ("cheaper", "shorter", "stop")

    def spend(self, usd_nanos: int, *path: str, tokens: int = 0) -> None:
        self._calls += 1
        id = str(self._calls)
        at = Instant(0.0, self.clock.shown)
        self.accounts.reserve(id, path or ("agent:planner",), ask=lambda left: Amounts(requests=1), at=at, ttl_s=60.0)
        posting = self.accounts.post(id, Amounts(usd_nanos, tokens))
        assert posting is not None
        self.outlook.charged(posting.charges)

    def rows(self, **asked: str | int) -> list[BudgetRow]:
        return list(self.outlook.answer(Query(**asked)).rows)  # type: ignore[arg-type]  # names of its fields


async def test_a_limit_is_shown_as_it_stands_and_where_it_is_heading() -> None:
    """Four dollars in the first six hours: the rest lasts for nine more."""
    desk = Desk()
    desk.spend(4)
    for _ in range(6):
        desk.clock.shown += 3_600
        desk.spend(4 * DOLLAR // 6)
    desk.clock.shown = MIDNIGHT + 6 * 3_600
    (row,) = desk.rows(account="agent:planner")
    assert (row.account, row.unit, row.window, row.limit, row.held) == ("agent:planner", "usd", "day", "10.00", "0.00")
    assert (row.spent, row.left, row.used) == ("4.00", "6.00", 0.4)
    assert row.resets_at == "2024-10-05T00:00:00Z"
    assert row.rate_per_hour == "0.666666666"
    assert row.exhausted_at == "2024-10-04T15:00:00Z"
    assert row.expected_at_end == "15.999999988"
    assert (row.pace, row.rung, row.overrun, row.unresolved) == (0.0, None, "0.00", "0.00")


async def test_a_limit_that_nothing_was_charged_to_has_no_rate_and_no_end() -> None:
    desk = Desk()
    shown = {row.account: row for row in desk.rows()}
    assert shown.keys() == {"agent:planner", "team:t"}
    tokens = shown["team:t"]
    assert (tokens.limit, tokens.rate_per_hour, tokens.exhausted_at, tokens.resets_at) == (50, None, None, None)
    assert tokens.expected_at_end is None


async def test_the_most_used_come_first_and_the_rest_is_said_to_be_there() -> None:
    desk = Desk()
    for number in range(5):
        desk.spend(number * DOLLAR // 5, f"agent:a{number}")
    answer = desk.outlook.answer(Query(kind="agent", rows_max=2))
    assert ([row.account for row in answer.rows], answer.truncated) == (["agent:a4", "agent:a3"], True)
    assert answer.rows[0].rung == "shorter"
    assert not desk.outlook.answer(Query(kind="agent", rows_max=10)).truncated


async def test_filters_are_account_kind_and_unit() -> None:
    desk = Desk()
    desk.spend(DOLLAR // 2, "agent:planner", "run:r")
    assert [(row.account, row.carrier) for row in desk.rows(kind="run")] == [("run:r", "agent:planner")]
    assert [row.account for row in desk.rows(unit="tokens")] == ["team:t"]
    assert [row.account for row in desk.rows(account="agent:planner")] == ["agent:planner"]
    assert desk.rows(account="key:nobody") == []
    for tenant in ("red", "blue"):
        desk.spend(1, "agent:planner", f"run:team:{tenant}/a/b")
    assert {row.account for row in desk.rows(account="run:a/b")} == {"run:team:red/a/b", "run:team:blue/a/b"}
    assert [row.account for row in desk.rows(account="run:team:red/a/b")] == ["run:team:red/a/b"]
    assert desk.rows(kind="run")[0].rate_per_hour is None


async def test_rates_are_kept_for_a_bounded_number_of_limits_the_latest_ones() -> None:
    desk = Desk()
    for number in range(RATES_MAX + 1):
        name = f"agent:{number}"
        desk.outlook.charged((Charge(Period(name, "usd", "day", 1, name), 5),))
    assert repr(desk.outlook).startswith(f"Outlook({RATES_MAX} rates")
    assert desk.rows(account="agent:0")[0].rate_per_hour is None
    assert desk.rows(account=f"agent:{RATES_MAX}")[0].rate_per_hour is not None


async def test_the_watch_shows_all_limits_and_moves_the_pace_every_half_minute() -> None:
    desk, seen = Desk(at=DAY / 2), []

    def show(standings: list[Standing]) -> None:
        seen.append({standing.period.account: standing.pace for standing in standings})

    desk.spend(9 * DOLLAR, "agent:planner", "run:r")
    watching = asyncio.ensure_future(desk.outlook.watch(show))  # noqa: TID251
    await asyncio.sleep(61)
    watching.cancel()
    assert len(seen) == 13
    assert seen[0] == {"agent:planner": 0, "team:t": 0, "run:r": 0}
    assert [each["agent:planner"] for each in seen] == [0] * 5 + [1] * 6 + [2] * 2


def test_what_was_charged_in_an_earlier_minute_is_counted_there() -> None:
    one = Desk()
    period = Period("agent:a", "usd", "day", 0, "agent:a")
    one.outlook.charged((Charge(period, 5),))
    assert len(one.outlook._rates) == 0, "calls only add up"
    one.clock.shown += 61
    one.outlook.charged((Charge(period, 7),))
    (rate,) = one.outlook._rates.values()
    assert rate._hour.total(one.clock.shown) == 5
    one.outlook._fold()
    assert rate._hour.total(one.clock.shown) == 12
    assert rate._hour.total(one.clock.shown + 3_580) == 7
