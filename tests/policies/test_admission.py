"""What stands in the way of a call, said without changing anything."""

from __future__ import annotations

from math import inf

from policies import admission
from policies.limits import Limit
from policies.meter import Balance
from proxy.types import Period


def balance(account: str, amount: int, *, pending: int = 0) -> Balance:
    made = Balance(Period(account, "usd", "total", 0, account), Limit("usd", amount), resets_wall=inf, tolerance=0)
    made.free -= pending
    return made


def test_what_fits_everywhere_is_admitted_and_nothing_is_taken() -> None:
    balances = (balance("a", 10), balance("b", 5))
    assert admission.refusal(balances, (5, 5), wall=0.0) is None
    assert [each.pending for each in balances] == [0, 0]


def test_every_limit_in_the_way_is_named_and_the_others_are_not() -> None:
    balances = (balance("a", 10), balance("b", 5), balance("c", 4, pending=1))
    refused = admission.refusal(balances, (4, 6, 4), wall=7.0)
    assert refused is not None and refused.wall == 7.0
    assert [(each.period.account, each.reason) for each in refused.shortfalls] == [("b", "floor"), ("c", "held")]


def test_what_the_call_holds_already_is_not_in_its_own_way() -> None:
    refused = admission.refusal((balance("a", 10, pending=8),), (3,), wall=0.0, own=(6,))
    assert refused is not None
    (shortfall,) = refused.shortfalls
    assert (shortfall.held, shortfall.needed, shortfall.reason) == (2, 9, "held")
