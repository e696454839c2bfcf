"""What the log, the ledger and the counters are told of budgets."""

from __future__ import annotations

import asyncio
from io import BytesIO

from policies.limits import Crossing, Reason, Refusal, Shortfall
from proxy.budget_news import MERGED_MAX, BudgetNews
from proxy.telemetry.log import RequestLog
from proxy.types import Charge, Period

DAY = Period("agent:a", "usd", "day", 7, "agent:a")


class Told:
    """Ledger and counters."""

    def __init__(self) -> None:
        self.sink = BytesIO()
        self.log = RequestLog(self.sink, lambda: 0.0, terminal=False)
        self.events: list[tuple[str, str, object]] = []
        self.refusals: list[Refusal] = []
        self.charges: list[Charge] = []
        self.news = BudgetNews(self.log, self, self, self.charges.extend)

    def append_event(self, kind: str, subject: str, body: object) -> None:
        self.events.append((kind, subject, body))

    def denied(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)


def refusal(*accounts: str, reason: Reason = "spent") -> Refusal:
    periods = [Period(account, "usd", "day", 7, account) for account in accounts]
    return Refusal(
        tuple(
            Shortfall(period, limit=1, spent=1, held=0, needed=1, resets_wall=None, reason=reason) for period in periods
        ),
        0.0,
    )


def test_thresholds_and_overruns_are_told() -> None:
    told = Told()
    told.news.crossed(Crossing(DAY, 80))
    charges = (Charge(DAY, 5), Charge(DAY, 500_000_000, 20_000_000))
    told.news.overran(charges[1])
    told.news.charged(charges)
    told.log.close()
    crossed, overrun = told.sink.getvalue().decode().splitlines()
    assert '"account":"agent:a"' in crossed
    assert '"reached_percent":80' in crossed
    assert '"overrun":"0.02"' in overrun
    body = {"account": "agent:a", "unit": "usd", "per": "day", "reached_percent": 80}
    assert told.events == [("limit", "agent:a", body)]
    assert told.charges == list(charges)


async def test_refusals_of_one_second_are_one_row_for_each_account() -> None:
    told = Told()
    for _ in range(3):
        told.news.denied(refusal("agent:a", "key:k"))
    told.news.denied(refusal("agent:a"))
    assert (len(told.refusals), told.events) == (4, [])
    await asyncio.sleep(1.1)
    first = [
        ("refusal", "agent:a", {"code": "budget_exceeded", "count": 4}),
        ("refusal", "key:k", {"code": "budget_exceeded", "count": 3}),
    ]
    assert told.events == first
    await asyncio.sleep(5)
    told.news.denied(refusal("key:k"))
    await asyncio.sleep(1.1)
    assert told.events == [*first, ("refusal", "key:k", {"code": "budget_exceeded", "count": 1})]
    told.log.close()


async def test_a_stop_writes_what_is_left_once() -> None:
    told = Told()
    told.news.denied(refusal("agent:a"))
    told.news.flush()
    await asyncio.sleep(2)
    assert [subject for _, subject, _ in told.events] == ["agent:a"]
    told.log.close()


async def test_a_flood_of_accounts_is_merged() -> None:
    told = Told()
    for number in range(MERGED_MAX + 7):
        told.news.denied(refusal(f"agent:{number}"))
    told.news.flush()
    assert len(told.events) == MERGED_MAX + 1
    assert told.events[-1] == ("refusal", "other", {"code": "budget_exceeded", "count": 7})
    told.log.close()
