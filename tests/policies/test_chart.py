"""What is open on a path, and what of a need each limit looks at."""

from __future__ import annotations

from math import inf

from policies.chart import Account, Chart
from policies.limits import Limit, name_of
from policies.meter import Common, Meter
from proxy.holds import Left
from proxy.types import Amounts
from tests.policies.rulebook import DAY, START


def opened(*limits: Limit, wall: float = START) -> Chart:
    common = Common()
    meters = tuple([Meter("key:k", "key:k", limit, common=common, wall=wall) for limit in limits])
    chart = Chart((Account("key:k", 0.0), Account("run:r", 0.0)), meters, demands=Left())
    chart.open(wall, common)
    return chart


def test_windows_stand_side_by_side_with_their_names_and_needs() -> None:
    windows = opened(Limit("usd", 5, "day"), Limit("tokens", 9), Limit("usd", 7, soft=True)).windows
    assert windows.pick(Amounts(3, 4, soft_usd_nanos=2).by_index) == (3, 4, 2)
    assert [period.unit for period in windows.periods] == ["usd", "tokens", "usd"]
    assert windows.names == tuple(name_of(balance.period) for balance in windows.balances)


def test_one_limit_alone_and_none_at_all_pick_a_tuple_too() -> None:
    needs = Amounts(3, 4).by_index
    assert opened(Limit("tokens", 9)).windows.pick(needs) == (4,)
    assert opened().windows.pick(needs) == () and Chart(demands=Left()).windows.pick(needs) == ()


def test_it_is_open_until_the_first_of_its_windows_ends() -> None:
    assert opened(Limit("usd", 5, "day"), Limit("tokens", 9)).until == START + DAY
    assert opened(Limit("tokens", 9)).until == inf


def test_money_and_tokens_ease_and_only_runs_are_runs() -> None:
    chart = opened(Limit("usd", 5), Limit("tokens", 9), Limit("requests", 3))
    assert [balance.period.unit for balance in chart.eased] == ["usd", "tokens"]
    assert [balance.period.unit for balance in chart.money] == ["usd"]
    assert [account.name for account in chart.runs] == ["run:r"]
