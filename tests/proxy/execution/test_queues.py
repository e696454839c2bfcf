"""The queues of targets: one for each that is waited for, those of one provider in turn, urgent ones first."""

from __future__ import annotations

from msgspec import structs

from policies.provider_limits import TargetLimits
from policies.rate_limit import Account, Rates
from proxy.execution.line import Claim, Line, Ticket
from proxy.execution.queues import Queue, Queues
from proxy.types import Priority, Target
from tests.build import call, target

ROOM = Account("target:p/a", Rates(), 1.0)
A, B, C = target("p/a"), target("p/b"), target("q/c")


def ticket(priority: Priority = "standard") -> Ticket:
    return Ticket(Claim(structs.replace(call(), priority=priority)))


def opened(queues: Queues[Ticket], of: Target, *tickets: Ticket) -> Queue[Ticket]:
    room = TargetLimits(Account(f"target:{of.id}", Rates(), 1.0), Account(f"provider:{of.provider}", Rates(), 1.0))
    queue = queues.open(of, room, Line(of))
    for each in tickets:
        queues.add(each, queue)
    return queue


def test_a_queue_is_there_while_somebody_waits() -> None:
    queues: Queues[Ticket] = Queues()
    one, other = ticket(), ticket()
    queue = opened(queues, A, one, other)
    assert queues.has(A)
    assert not queues.has(B)
    assert (queues.calls, queues.providers, opened(queues, A)) == (2, ("p",), queue)
    queues.remove(one, queue)
    queue.line.take(0.0)
    queues.gone(other)
    queues.close(queue)
    assert (queues.calls, queues.providers, queues.has(A), queues.in_turn("p")) == (0, (), False, [])
    queues.close(queue)


def test_targets_of_a_provider_take_turns_but_for_those_with_urgent_calls() -> None:
    queues: Queues[Ticket] = Queues()
    a, b = opened(queues, A, ticket()), opened(queues, B, ticket())
    opened(queues, C, ticket())
    assert [queues.in_turn("p") for _ in range(3)] == [[b, a], [a, b], [b, a]]
    queues.add(ticket("critical"), a)
    assert [queues.in_turn("p")[0] for _ in range(3)] == [a, a, a]


def test_a_new_run_gives_way_to_one_that_goes_on_and_not_the_other_way() -> None:
    queues: Queues[Ticket] = Queues()
    going_on, new = Ticket(Claim(call()), steps=3), ticket()
    opened(queues, A, going_on, new)
    assert queues.gives_way(Ticket(Claim(call()), steps=1)) is new
    queues.remove(new, queues.open(A, TargetLimits(ROOM, ROOM), Line(A)))
    assert queues.gives_way(ticket()) is None


def test_the_least_urgent_gives_way_wherever_it_waits() -> None:
    queues: Queues[Ticket] = Queues()
    batch = ticket("batch")
    opened(queues, A, ticket())
    opened(queues, C, batch)
    assert queues.gives_way(ticket()) is batch
    assert queues.gives_way(ticket("batch")) is None
