from __future__ import annotations

import pytest

from proxy.demo.client import Reply
from proxy.demo.figures import Seen
from proxy.demo.fleet import End, Tally
from proxy.demo.result import Dollars, by_cause, column
from proxy.demo.story import story
from proxy.demo.vendor import Cause, Invoice
from proxy.providers.simulated_reply import Bill
from tests.proxy.demo.test_runaway import Scripted, wild


def invoice(id: str, *, broken: bool = False, cause: Cause = "first", run: str = "") -> Invoice:
    bill = Bill("sim-small", "chat", prompt_tokens=100, cached_tokens=40, completion_tokens=10)
    return Invoice("east", id, bill, asked_at=0.0, broken=broken, run=run, cause=cause)


COST = 60 * 150 + 40 * 75 + 10 * 600


def test_every_dollar_has_one_cause() -> None:
    causes = by_cause(
        [
            *(invoice("1"), invoice("2", cause="retry"), invoice("3", cause="hedge"), invoice("4", cause="hedge")),
            *(invoice(str(id), cause="retry", broken=True) for id in range(3)),
            *(invoice(str(id), cause="retry", broken=id == 4, run="runaway-1") for id in range(4, 9)),
        ]
    )
    assert causes == Dollars(
        first_attempts=COST, retries=COST, hedges=2 * COST, cut_or_abandoned=3 * COST, runaway=5 * COST
    )
    assert causes.total == 12 * COST


def test_success_is_told_of_the_time_in_which_a_provider_was_down() -> None:
    tally = Tally()
    for at in (1.0, 25.0, 26.0, 27.0, 28.0):
        tally.heard_of(at, Reply("x", 0.1) if at < 28.0 else None)
    made = column(1, Seen(story(60.0), 0.0, tally, (), [], wild(Scripted())), set())
    assert made.outage_success_share == 0.75
    assert column(1, Seen(story(60.0), 0.0, Tally(), (), [], wild(Scripted())), set()).outage_success_share is None


def test_a_column_counts_its_runs_and_prices_those_that_both_completed() -> None:
    tally = Tally()
    tally.ends = {"a": End("completed", 1.0), "b": End("failed", 2.0)}
    seen = Seen(story(60.0), 0.0, tally, (), [invoice("1", run="a"), invoice("2", run="b")], wild(Scripted()))
    made = column(3, seen, {"a"})
    assert (made.runs, made.runs_completed, made.runs_failed) == (3, 1, 1)
    assert (made.usd_nanos_total, made.usd_nanos_same_runs) == (2 * COST, COST)
    assert made.input_cached_share == pytest.approx(0.4)
    assert [phase.usd_nanos for phase in made.phases] == [2 * COST, 0, 0, 0]
    assert column(3, Seen(story(60.0), 0.0, tally, (), [], wild(Scripted())), set()).input_cached_share is None
