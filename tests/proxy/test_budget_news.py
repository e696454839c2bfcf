"""What the log is told of budgets."""

from __future__ import annotations

from io import BytesIO

from policies.limits import Crossing
from proxy.budget_news import BudgetNews
from proxy.telemetry.log import RequestLog
from proxy.types import Charge, Period

DAY = Period("agent:a", "usd", "day", 7, "agent:a")


def test_thresholds_and_overruns_are_lines_of_the_log() -> None:
    sink = BytesIO()
    log = RequestLog(sink, lambda: 0.0, terminal=False)
    news = BudgetNews(log)
    news.crossed(Crossing(DAY, 80))
    news.charged((Charge(DAY, 5), Charge(DAY, 500_000_000, 20_000_000)))
    log.close()
    crossed, overrun = sink.getvalue().decode().splitlines()
    assert '"account":"agent:a"' in crossed
    assert '"reached_percent":80' in crossed
    assert '"overrun":"0.02"' in overrun
