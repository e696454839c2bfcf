"""The rules of budgets written a second time, naively: counters by name, and an excess paid coin by coin."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from policies.limits import Limit
from proxy.types import Amounts, Period
from tests.policies.rulebook import Rules

FIGURES = {"usd": "usd_nanos", "tokens": "tokens", "requests": "requests", "concurrency": "concurrency"}


@dataclass
class Sums:
    limit: int = 0
    soft: bool = False
    sums: Counter[str] = field(default_factory=Counter)  # S, V, G(ranted), F(orgiven)
    holds: dict[str, int] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)

    def counted(self) -> int:
        return self.sums["S"] + self.sums["V"]

    def room(self) -> int:
        return self.limit + self.sums["G"] - self.counted() - sum(self.holds.values())

    def charge(self, excess: int) -> int:
        """Coin by coin."""
        before = self.sums["V"]
        for _ in range(excess):
            self.sums["S" if self.room() > 0 else "V"] += 1
        return self.sums["V"] - before

    def refund(self, amount: int) -> None:
        for _ in range(amount):
            taken = "V" if self.sums["V"] else "S"
            self.sums[taken] = max(0, self.sums[taken] - 1)
            self.sums["F"] = min(self.sums["F"], self.sums["V"])

    def reached(self) -> set[int]:
        whole = self.limit + self.sums["G"]
        return {percent for percent in (50, 80, 100) if whole and self.counted() * 100 >= percent * whole}

    def cross(self) -> list[int]:
        new = sorted(self.reached() - self.told)
        self.told |= set(new)
        return new


class Model:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.newest: dict[tuple[str, str, str, str], int] = {}
        self.periods: dict[Period, Sums] = {}

    def open(self, path: tuple[str, ...], wall: float) -> list[Period]:
        """The open window of every limit that the path meets."""
        found = []
        for depth, account in enumerate(path):
            for carrier in path[: depth + 1]:
                for limit in self.rules.limits(carrier):
                    met = account.startswith("run:") if limit.per == "run" else carrier == account
                    found += [self.open_one(account, carrier, limit, wall)] if met else []
        return found

    def open_one(self, account: str, carrier: str, limit: Limit, wall: float) -> Period:
        key = (account, limit.unit, limit.per, carrier)
        days = int(wall) // 86_400 + 719_163
        number = {"minute": int(wall) // 60, "day": days}.get(limit.per, 0)
        self.newest[key] = max(number, self.newest.get(key, 0))
        period = Period(account, limit.unit, limit.per, self.newest[key], carrier)
        self.periods.setdefault(period, Sums(limit.amount, limit.soft))
        return period

    def is_open(self, period: Period) -> bool:
        key = _key(period)
        return self.newest[key] == period.id and self.limit(*key[1:]) is not None

    def known(self, account: str, wall: float) -> list[Period]:
        """One account's open windows, as far as they were ever met."""
        self.open((account,), wall)
        for name, unit, per, carrier in list(self.newest):
            limit = self.limit(unit, per, carrier)
            if name == account and limit is not None:
                self.open_one(name, carrier, limit, wall)
        return [period for period in self.periods if period.account == account and self.is_open(period)]

    def limit(self, unit: str, per: str, carrier: str) -> Limit | None:
        return next((each for each in self.rules.limits(carrier) if (each.unit, each.per) == (unit, per)), None)

    def forget_unlimited(self) -> None:
        self.periods = {each: sums for each, sums in self.periods.items() if self.limit(*_key(each)[1:])}
        self.newest = {key: id for key, id in self.newest.items() if self.limit(*key[1:])}


def _key(period: Period) -> tuple[str, str, str, str]:
    return period.account, period.unit, period.per, period.carrier


def need(period: Period, sums: Sums, draw: Amounts) -> int:
    if sums.soft and draw.soft_usd_nanos is not None:
        return draw.soft_usd_nanos
    amount = getattr(draw, FIGURES[period.unit])
    assert isinstance(amount, int)
    return amount


def fits(sums: Sums, more: int) -> bool:
    return sums.sums["V"] <= sums.sums["F"] and (more == 0 or more <= sums.room())
