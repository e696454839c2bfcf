"""The whole demo on the virtual loop: a real gate, real sockets, as much processor time as in real life."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from proxy.clock import SystemClock, loop_time
from proxy.demo.result import Event, Result
from proxy.demo.stage import Script, Stage
from proxy.demo.story import PROVIDERS
from proxy.demo.view import Picture


class Notes:
    """A watcher that remembers."""

    every_s = 0.5

    def __init__(self) -> None:
        self.pictures: list[Picture] = []
        self.events: list[Event] = []

    def show(self, picture: Picture) -> None:
        self.pictures.append(picture)

    def event(self, event: Event) -> None:
        self.events.append(event)


async def played(folder: Path, notes: Notes, *, seconds: float = 5.0, stop_after_s: float | None = None) -> Result:
    stopping = asyncio.Event()
    if stop_after_s is not None:
        asyncio.get_running_loop().call_later(stop_after_s, stopping.set)
    async with Stage(Script(seconds, 3), folder, clock=SystemClock(3, now=loop_time), stopping=stopping) as stage:
        return await stage.play(notes)


async def test_a_demo_that_is_ended_early_has_a_right_ledger_and_lets_calls_end(tmp_path: Path) -> None:
    notes = Notes()
    result = await played(tmp_path, notes, stop_after_s=1.0)
    assert result.interrupted
    assert result.took_s < 5.0
    check = result.check
    assert check.exact
    assert check.reported.bill_usd_nanos > 0
    assert result.gate.usd_nanos_total == check.reported.bill_usd_nanos + check.estimated.bill_usd_nanos
    assert result.gate.calls > 0 and result.direct.calls > 0
    in_ledger = check.reported.ledger_usd_nanos + check.estimated.ledger_usd_nanos
    assert sum(row.usd_nanos for row in result.agents) == in_ledger
    assert "no keys used" in notes.events[0].text
    last = notes.pictures[-1]
    assert (last.gate.in_flight, last.direct.in_flight) == (0, 0)
    assert tuple(name for name, _ in last.providers) == PROVIDERS


@pytest.mark.slow
async def test_the_same_story_for_both_and_the_ledger_equals_the_bill(tmp_path: Path) -> None:
    notes = Notes()
    result = await played(tmp_path, notes)
    assert not result.interrupted
    assert result.direct.runs == result.gate.runs
    for column in (result.direct, result.gate):
        assert column.runs_completed + column.runs_failed == column.runs
        assert column.refusals > 0
        assert column.silences > 0
        assert sum(phase.calls for phase in column.phases) == column.calls
        assert sum(phase.upstream_calls for phase in column.phases) == column.upstream_calls
        assert sum(phase.usd_nanos for phase in column.phases) == column.usd_nanos_total
        assert column.usd_nanos.total == column.usd_nanos_total > 0
    assert result.exact
    in_ledger = result.check.reported.ledger_usd_nanos + result.check.estimated.ledger_usd_nanos
    assert sum(tree.usd_nanos for tree in result.trees) == in_ledger
    assert sum(tree.runs for tree in result.trees) <= result.gate.runs + 1  # the runaway's is beside them
    assert (result.gate.runaway.refused, result.direct.runaway.refused) == ("budget_exceeded", None)
    assert 0 < result.gate.runaway.usd_nanos <= result.budget_usd_nanos < result.direct.runaway.usd_nanos
    assert result.overspend_usd_nanos == 0
    assert result.known.hits > 0 and result.known.saved_usd_nanos > 0
    assert [event.text for event in notes.events] == [event.text for event in result.events]
    said = [event.text for event in result.events]
    assert any(text.startswith("provider east is down") for text in said)
    assert any(text.startswith("gate: east/sim-small is out") for text in said), said
    assert any("agent runaway is refused (budget_exceeded)" in text for text in said)
    assert any(picture.providers[0] == ("east", "down (500)") for picture in notes.pictures)


@pytest.mark.slow
async def test_of_a_whole_minute_more_than_99_of_100_calls_survive_the_outage(tmp_path: Path) -> None:
    result = await played(tmp_path, Notes(), seconds=60.0)
    direct, gate = result.direct, result.gate
    assert gate.outage_success_share is not None and direct.outage_success_share is not None
    assert gate.outage_success_share > 0.99 > direct.outage_success_share
    assert gate.first_token_p99_s is not None and direct.first_token_p99_s is not None
    assert gate.first_token_p99_s < direct.first_token_p99_s
    assert (result.overspend_usd_nanos, result.exact) == (0, True)
    assert gate.runaway.refused == "budget_exceeded"
