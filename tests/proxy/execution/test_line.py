"""A line: in turn, by what is expected of each call and what it took; and how long until all that wait have gone."""

from __future__ import annotations

import pytest
from msgspec import structs

from policies.fair_queue import QUANTUM
from proxy.execution.line import UNKNOWN_S, Claim, Line, Lines, Queueing, Ticket
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
        line.take(0.0)
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
            line.take(0.0)
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


def test_where_calls_go_one_by_one_their_pace_is_known() -> None:
    """A limit by the minute: nothing runs for long, and still they wait."""
    line: Line[Ticket] = Line(target())
    for _ in range(9):
        line.add(ticket("a"))
    for now in (0.0, 3.0, 6.0, 9.0):
        line.ended(line.take(now), None, 0.1)
    assert line.drain_s(1) == pytest.approx(15.0)
    while len(line):
        line.take(9.0)
    for _ in range(2):
        line.add(ticket("a"))
    line.take(1000.0)
    assert line.drain_s(1) < 3.0, "the time in which nobody waited tells nothing"


def test_who_stands_before_a_call_is_its_own_tier_and_those_above() -> None:
    line: Line[Ticket] = Line(target())
    priorities: tuple[Priority, ...] = ("critical", "interactive", "standard", "batch")
    for calls, priority in enumerate(priorities, 1):
        for _ in range(calls):
            line.add(ticket("a", priority=priority))
    waits = [line.wait_s(ticket("a", priority=priority).claim.call, 1) for priority in priorities]
    assert waits == [1.0, 3.0, 6.0, 10.0]


def test_agents_that_have_few_calls_wait_only_for_their_turn_and_are_spared() -> None:
    line: Line[Ticket] = Line(target())
    for _ in range(20):
        line.add(ticket("flood"))
    calm, flood = ticket("calm"), ticket("flood")
    assert (line.wait_s(calm.claim.call, 1), line.spares(calm.claim.call)) == (1.0, True)
    assert (line.wait_s(flood.claim.call, 1), line.spares(flood.claim.call)) == (20.0, False)
    line.add(calm)
    assert line.wait_s(calm.claim.call, 1) == 4.0, "two agents, and two calls of each"
    assert not line.spares(ticket("calm", priority="batch").claim.call), "no batch call waits"


def test_an_overload_turns_interactive_calls_round_and_its_end_turns_them_back() -> None:
    line: Line[Ticket] = Line(target())
    tickets = [ticket("a", priority="interactive") for _ in range(5)]
    for each in tickets:
        line.add(each)
    assert line.first() is tickets[0]
    for now in (0.0, 1.0):
        line.look(1, 10.0, now)
    assert line.first() is tickets[-1]
    assert line.wait_s(tickets[0].claim.call, 1) == 0.0, "whoever comes now goes next"
    line.look(100, 10.0, 100.0)
    assert line.first() is tickets[0]


@pytest.mark.parametrize(("wait_s", "goal_s"), [(10.0, 5.0), (60.0, 10.0), (0.0, 10.0)])
def test_the_goal_is_half_of_what_a_call_may_wait(wait_s: float, goal_s: float) -> None:
    assert Queueing(wait_s).goal_s == goal_s


def test_lines_in_use_are_kept_and_others_make_room() -> None:
    lines: Lines[Ticket] = Lines(lines_max=4)
    used = lines.of(target("p/used"))
    used.add(ticket("a"))
    for number in range(100):
        lines.of(target(f"p/{number}"))
    assert len(lines) <= 5
    assert lines.of(target("p/used")) is used
