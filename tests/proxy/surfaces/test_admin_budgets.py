"""`GET /budgets` and the budgets of new keys, over HTTP."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from proxy.money.outlook import Query
from proxy.state.budget_report import BudgetList
from proxy.surfaces.admin_budgets import BudgetRequest, BudgetRoutes
from proxy.surfaces.admin_guard import Guard, Rules
from tests.proxy.admin import asking


class Desk:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Query] = []

    def answer(self, query: Query) -> BudgetList:
        self.asked.append(query)
        return BudgetList((), truncated=False)

    async def get(self, path: str) -> tuple[int, Any]:
        guard = Guard(Rules(lambda audit: None, None, frozenset(), ()), BudgetRoutes(self.answer).routes())
        async with asking(guard) as client:
            reply = await client.get(path)
            return reply.status, await reply.json()


async def test_the_filters_reach_the_outlook() -> None:
    desk = Desk()
    assert await desk.get("/budgets") == (200, {"rows": [], "truncated": False})
    await desk.get("/budgets?account=agent:planner")
    await desk.get("/budgets?kind=run&unit=usd&limit=7")
    assert desk.asked == [Query(), Query("agent:planner"), Query(None, "run", "usd", 7)]


@pytest.mark.parametrize(
    ("query", "param"), [("kind=user", "kind"), ("unit=eur", "unit"), ("limit=0", "limit"), ("by=agent", "by")]
)
async def test_what_means_nothing_is_refused_by_name(query: str, param: str) -> None:
    desk = Desk()
    status, body = await desk.get(f"/budgets?{query}")
    assert (status, body["error"]["code"], desk.asked) == (400, "invalid_request", [])
    assert param in body["error"]["message"]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (BudgetRequest(usd=Decimal(5), per="day"), "5.00/day"),
        (BudgetRequest(usd=Decimal("0.1"), per="run", hold="strict"), "0.10/run,strict"),
        (BudgetRequest(usd=Decimal("1E+2")), "100.00"),
        (BudgetRequest(usd=Decimal("1e-12")), "0.00"),
        (BudgetRequest(usd=Decimal("1e-999999999")), "0.00"),
        (BudgetRequest(tokens=400_000, per="minute"), "400000tokens/minute"),
        (BudgetRequest(concurrency=8), "8concurrency"),
        (
            BudgetRequest(usd=Decimal(1), per="month", time_zone="Europe/Berlin", soft=True),
            "1.00/month,Europe/Berlin,soft",
        ),
    ],
)
def test_a_budget_reads_as_in_the_configuration(asked: BudgetRequest, text: str) -> None:
    assert asked.text() == text


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (BudgetRequest(per="day"), "exactly one of usd, tokens"),
        (BudgetRequest(usd=Decimal(1), tokens=1), "exactly one of"),
        (BudgetRequest(usd=Decimal(-1)), "between 0 and"),
        (BudgetRequest(usd=Decimal("NaN")), "between 0 and"),
        (BudgetRequest(usd=Decimal("1e30")), "between 0 and"),
        (BudgetRequest(concurrency=1, per="day"), "no window"),
        (BudgetRequest(usd=Decimal(1), time_zone="Mars"), "not a time zone"),
    ],
)
def test_what_is_no_budget_is_refused(asked: BudgetRequest, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asked.text()
