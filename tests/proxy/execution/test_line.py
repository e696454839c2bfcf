"""A line: in turn, by what is expected of each call and what it took; and how long until all that wait have gone."""

from __future__ import annotations

from math import inf
from typing import Literal

import pytest
from msgspec import structs

from policies.fair_queue import QUANTUM
from proxy.execution.line import UNKNOWN_S, Claim, Line, Lines, Queueing, Ticket
from proxy.types import Call, Identity, Priority, Usage
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
        served.append(line.first(0.0))
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
            served += line.first(0.0).agent
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
    assert line.first(0.0) is tickets[0]
    for now in (0.0, 1.0):
        line.look(1, 10.0, now)
    assert line.first(0.0) is tickets[-1]
    assert line.wait_s(tickets[0].claim.call, 1) == 0.0, "whoever comes now goes next"
    line.look(100, 10.0, 100.0)
    assert line.first(0.0) is tickets[0]


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


def of_run(run: str | None, *, parent: str | None = None, at: float = 0.0, team: str | None = None) -> Call:
    return structs.replace(call(identity=Identity("k", "a", team=team, run=run, parent_run=parent)), arrived_at=at)


def placed(lines: Lines[Ticket], of: Call, rise_s: float = inf) -> Ticket:
    made = Ticket(Claim(of))
    made.place = lines.place(of, of.arrived_at, rise_s)
    return made


def test_of_an_agents_calls_that_of_the_run_which_has_had_least_goes_first() -> None:
    lines: Lines[Ticket] = Lines()
    line = lines.of(target())
    for run, units in (("much", 1e6), ("little", 1e3)):
        lines.served(of_run(run), units)
    lines.served(of_run(None), 1e9)
    much, little, none = [placed(lines, of_run(run, at=1.0)) for run in ("much", "little", None)]
    for each in (much, none, little):
        line.add(each)
    order = []
    while len(line):
        order.append(line.first(1.0))
        line.take(1.0)
    assert order == [none, little, much], "calls without a run have had nothing, each for itself"


def test_another_tenants_run_of_the_same_name_is_another() -> None:
    lines: Lines[Ticket] = Lines()
    lines.served(of_run("r"), 1e6)
    theirs = structs.replace(of_run("r"), identity=Identity("other", "a", run="r"))
    assert lines.place(theirs, 0.0, inf).class_ == 0
    assert lines.place(of_run("r"), 0.0, inf).class_ == 2
    below = [lines.place(of_run("c", parent="r", team=team), 0.0, inf).parent for team in ("red", "blue", "red")]
    assert below[0] == below[2] != below[1], "nor are those below it siblings"


def test_a_call_says_where_it_stood_and_why() -> None:
    lines: Lines[Ticket] = Lines()
    lines.served(of_run("r"), 400_000.0)
    line = lines.of(target())
    for each in ("x", "y"):
        line.add(placed(lines, of_run(each)))
    mine = placed(lines, of_run("r"), rise_s=2.0)
    line.add(mine)
    line.first(5.0)
    assert mine.stood(target(), 5.0) == (
        "waited 5.000 s for a place at up/model, as standard, behind 2 of its agent's calls: its run has had 400,000 "
        "cost units, which is class 2, from which it rose to 0"
    )
    assert ticket("a").stood(target(), 1.0) == "waited 1.000 s for a place at up/model, as standard"


def test_a_hint_lifts_a_class() -> None:
    lines: Lines[Ticket] = Lines()
    lines.served(of_run("r"), 1e6)
    usual = lines.place(of_run("r"), 0.0, inf)
    hinted = lines.place(structs.replace(of_run("r"), hurry="critical"), 0.0, inf)
    assert hinted.class_ == usual.class_ - 1


@pytest.mark.parametrize(("hurry", "patience_s"), [("usual", 10.0), ("critical", 10.0), ("patient", 600.0)])
def test_only_what_has_hours_stands_in_line_for_them(hurry: Literal["usual", "patient"], patience_s: float) -> None:
    asked = structs.replace(call(deadline=700.0), hurry=hurry)
    assert Queueing(10.0).patience_s(asked, 100.0) == patience_s
    assert Queueing(10.0).patience_s(asked, 695.0) == 5.0
