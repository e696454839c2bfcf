"""A line: in turn, by what is expected of each call and what it took; and how long until all that wait have gone."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies.fair_queue import QUANTUM
from proxy.execution.line import UNKNOWN_S, Claim, Line, Lines, Ticket
from proxy.types import Identity, Priority, Usage
from tests.build import call, target


def ticket(agent: str, tokens: int = 0, priority: Priority = "standard") -> Ticket:
    return Ticket(Claim(structs.replace(call(identity=Identity("k", agent)), priority=priority), tokens))


def test_it_is_served_in_turn_and_can_be_left() -> None:
    line: Line[Ticket] = Line(target())
    tickets = [ticket(agent) for agent in "aaab"]
    for each in tickets:
        line.add(each)
    line.remove(tickets[1])
    urgent = ticket("c", priority="critical")
    line.add(urgent)
    served = []
    while len(line):
        served.append(line.first())
        line.take()
    assert served == [urgent, tickets[0], tickets[3], tickets[2]]
    assert not line.idle, "they run now"


def test_output_counts_by_its_price() -> None:
    """At the price of `tests.build` an output token is worth two of input."""
    tokens = 100 + int(QUANTUM) // 2  # 100 of input
    for expected, order in ((tokens, "abba"), (tokens // 2, "abab")):
        line: Line[Ticket] = Line(target())
        for agent in "aa":
            line.add(ticket(agent, expected))
        for agent in "bb":
            line.add(ticket(agent))
        served = ""
        while len(line):
            served += line.first().agent
            line.take()
        assert served == order


def test_the_time_until_all_have_gone_follows_the_calls_that_ended() -> None:
    line: Line[Ticket] = Line(target())
    for _ in range(6):
        line.add(ticket("a"))
    assert line.drain_s(2) == 6 * UNKNOWN_S / 2
    for _ in range(100):
        line.ended(line.pass_by(ticket("b").claim), Usage(output=1), 8.0)
    assert line.drain_s(2) == pytest.approx(24.0)
    assert line.drain_s(0) == pytest.approx(48.0)
    line.ended(line.pass_by(ticket("b").claim), None, 18.0)
    assert line.drain_s(2) == pytest.approx(27.0)


def test_lines_in_use_are_kept_and_others_make_room() -> None:
    lines: Lines[Ticket] = Lines(lines_max=4)
    used = lines.of(target("p/used"))
    used.add(ticket("a"))
    for number in range(100):
        lines.of(target(f"p/{number}"))
    assert len(lines) <= 5
    assert lines.of(target("p/used")) is used
