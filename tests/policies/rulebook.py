"""A rulebook of a few lines, instants by one number, and accounts asked in few words."""

from __future__ import annotations

from policies.accounts import Accounts, Hold
from policies.limits import Instant, Limit, Refusal
from proxy.types import Amounts

DAY = 86_400.0
START = 20_000 * DAY  # a midnight, UTC


class Rules:
    """The limits of each account by name, or by the kind of account it is."""

    def __init__(self, limits: dict[str, tuple[Limit, ...]]) -> None:
        self._limits = limits

    def limits(self, account: str) -> tuple[Limit, ...]:
        return self._limits.get(account) or self._limits.get(account.partition(":")[0], ())


def at(seconds: float = 0.0) -> Instant:
    return Instant(now=seconds, wall=START + seconds)


PATH = ("team:t", "key:k", "agent:a", "run:r")
LIMITS = {
    "team": (Limit("usd", 1_000),),
    "key": (Limit("usd", 500, "day"), Limit("requests", 3, "minute")),
    "agent": (Limit("usd", 100, "run"), Limit("tokens", 50)),
}


def accounts(limits: dict[str, tuple[Limit, ...]] | None = None) -> Accounts:
    return Accounts(Rules(LIMITS if limits is None else limits))


def usd(amount: int) -> Amounts:
    return Amounts(usd_nanos=amount, requests=1)


def reserve(
    found: Accounts, id: str, draw: Amounts, when: Instant | None = None, path: tuple[str, ...] = PATH
) -> Hold | Refusal:
    return found.reserve(id, path, ask=lambda left: draw, at=when or at(), ttl_s=60.0)


def refusing(answer: Hold | Refusal | None) -> list[tuple[str, str, str]]:
    assert isinstance(answer, Refusal)
    return [(short.period.account, short.period.unit, short.reason) for short in answer.shortfalls]


def figures(found: Accounts, account: str, when: Instant | None = None) -> list[tuple[int, int, int]]:
    """Spent, overrun, held of each limit."""
    standings = found.state(account, at=when or at())
    return [(standing.totals.spent, standing.totals.overrun, standing.held) for standing in standings]
