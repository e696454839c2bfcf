from __future__ import annotations

import pytest

from proxy.clock import SystemClock
from proxy.demo.client import Reply
from proxy.demo.figures import Figures, Seen, by_phase, quantile
from proxy.demo.fleet import End, Tally
from proxy.demo.story import story
from proxy.demo.vendor import Invoice, Vendor
from proxy.providers.simulated import Simulation
from proxy.providers.simulated_reply import Bill
from tests.proxy.demo.test_runaway import Scripted, wild

BEGAN_AT = 1_000.0
BILL = Bill("sim-small", "chat", prompt_tokens=100, cached_tokens=0, completion_tokens=0)


@pytest.mark.parametrize(
    ("share", "values", "expected"),
    [
        (0.5, [], None),
        (0.5, [3.0], 3.0),
        (0.5, [4.0, 1.0, 3.0, 2.0], 2.0),
        (0.99, [float(value) for value in range(1, 101)], 99.0),
        (0.99, [float(value) for value in range(1, 11)], 10.0),
    ],
)
def test_a_quantile_is_a_measured_value(share: float, values: list[float], expected: float | None) -> None:
    assert quantile(share, values) == expected


def test_everything_counts_in_the_chapter_that_could_have_touched_it() -> None:
    told = story(60.0)
    tally = Tally()
    tally.heard_of(BEGAN_AT + 1.0, Reply("x", 0.1))
    tally.heard_of(BEGAN_AT + 11.9, Reply("x", 5.0))  # its first token came in the next chapter
    tally.heard_of(BEGAN_AT + 24.0, None)
    tally.ends = {"a": End("completed", BEGAN_AT + 13.0), "b": End("failed", BEGAN_AT + 25.0)}
    runaway = wild(Scripted())
    runaway.tally.heard_of(BEGAN_AT + 50.0, None)
    vendor = Vendor("east", Simulation(), story=told, clock=SystemClock(1))
    vendor.asked_at = [BEGAN_AT + at for at in (1.0, 11.9, 24.0, 24.5, 25.0)]
    invoices = [Invoice("east", str(at), BILL, asked_at=BEGAN_AT + at) for at in (1.0, 11.9)]
    assert by_phase(Seen(told, BEGAN_AT, tally, (vendor,), invoices, runaway)) == [
        Figures("normal", 0, 0, 2, 0, 0.1, 5.0, upstream_calls=2, usd_nanos=2 * 100 * 150),
        Figures("slow", 1, 0, 0, 0, None, None, upstream_calls=0, usd_nanos=0),
        Figures("down", 0, 1, 1, 1, None, None, upstream_calls=3, usd_nanos=0),
        Figures("healed", 0, 0, 0, 0, None, None, upstream_calls=0, usd_nanos=0, runaway_calls=1),
    ]
