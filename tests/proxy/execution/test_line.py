"""The plain line: first come, first served, and anybody may leave."""

from __future__ import annotations

from proxy.execution.line import Claim, Fifo, Ticket
from tests.build import call


def test_it_is_served_in_the_order_of_arrival_and_can_be_left() -> None:
    line: Fifo[Ticket] = Fifo()
    tickets = [Ticket(Claim(call(), number)) for number in range(4)]
    for ticket in tickets:
        line.add(ticket)
    line.remove(tickets[2])
    served = []
    while len(line):
        served.append(line.first())
        line.remove(served[-1])
    assert served == [tickets[0], tickets[1], tickets[3]]
    assert repr(line) == "Fifo(0)"
