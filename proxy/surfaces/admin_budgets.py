"""Budgets on the admin listener: how every limit stands and where it is heading, and budgets for keys as they are made.

A budget in a body reads as in the configuration: exactly one unit, over one window. How limits stand is the outlook's
to know.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal
from typing import Annotated, get_args

from msgspec import Meta, Struct

from policies.limits import HoldMode, Limit
from policies.written import text_of, units_of
from proxy.errors import ProxyError
from proxy.money.outlook import Query
from proxy.surfaces.admin_route import AdminRequest, Reply, Route, json_reply
from proxy.surfaces.query import limit, parameters
from proxy.types import Per, Unit

KINDS = ("team", "key", "agent", "run")
UNITS: tuple[Unit, ...] = get_args(Unit)
USD_MAX = 10**9
SMALLEST = Decimal("1e-9")  # without it, 1e-999999999 would be written out
BUDGETS_MAX = 32

Count = Annotated[int, Meta(ge=0, le=10**15)]


class BudgetRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One limit of a key that is being made."""

    usd: Decimal | None = None
    tokens: Count | None = None
    requests: Count | None = None
    steps: Count | None = None
    concurrency: Count | None = None
    per: Per = "total"
    time_zone: str = "UTC"
    hold: HoldMode = "estimated"
    soft: bool = False

    def text(self) -> str:
        """As a key keeps it. Raises ValueError."""
        counts = (self.tokens, self.requests, self.steps, self.concurrency)
        given = [(unit, count) for unit, count in zip(UNITS[1:], counts, strict=True) if count is not None]
        if self.usd is not None:
            given.append(("usd", _nanos(self.usd)))
        if len(given) != 1:
            raise ValueError(f"a budget names exactly one of {', '.join(UNITS)}")
        ((unit, amount),) = given
        return text_of(Limit(unit, amount, self.per, self.time_zone, hold=self.hold, soft=self.soft))


class BudgetRoutes:
    def __init__(self, answer: Callable[[Query], Struct]) -> None:
        self._answer = answer

    def routes(self) -> list[Route]:
        return [Route("GET", "/budgets", self.budgets)]

    async def budgets(self, asked: AdminRequest) -> Reply:
        given = parameters(asked.query, ("account", "kind", "unit", "limit"))
        _one_of(given, "kind", KINDS)
        _one_of(given, "unit", UNITS)
        query = Query(given.get("account"), given.get("kind"), given.get("unit"), limit(given))
        return json_reply(self._answer(query))


def _nanos(usd: Decimal) -> int:
    if not usd.is_finite() or not 0 <= usd <= USD_MAX:
        raise ValueError(f"an amount in USD is between 0 and {USD_MAX}")
    whole, _, fraction = f"{usd.quantize(SMALLEST, ROUND_FLOOR):f}".partition(".")
    return units_of("usd", whole, fraction)


def _one_of(given: dict[str, str], name: str, known: tuple[str, ...]) -> None:
    if given.get(name, known[0]) not in known:
        raise ProxyError("invalid_request", f"{name} must be one of {', '.join(known)}", param=name)
