"""The fair queue: equal shares for those that wait, whoever floods; nothing saved up, nobody left out, nothing idle."""

from __future__ import annotations

from collections import Counter, deque
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from policies.fair_queue import QUANTUM, FairQueue, Share

OUTPUT = 5.0


class Wish(Struct, frozen=True, eq=False):
    """A call that waits: `cost` is what is expected of it, `really` what it takes."""

    agent: str
    cost: float
    really: float


class Server:
    """A target with so many places: calls go as the queue says, and end in the order in which they went."""

    def __init__(self, places: int, quantum: float = QUANTUM) -> None:
        self.queue: FairQueue[Wish] = FairQueue(quantum)
        self.places = places
        self.running: deque[tuple[Share[Wish], Wish]] = deque()
        self.served: Counter[str] = Counter()  # units, of calls that went
        self.order: list[str] = []

    def ask(self, agent: str, cost: float, really: float | None = None) -> None:
        self.queue.add(Wish(agent, cost, cost if really is None else really), agent)

    def fill(self) -> None:
        while len(self.queue) and len(self.running) < self.places:
            wish = self.queue.first()
            share = self.queue.take(wish.cost)
            assert share.agent == wish.agent
            self.running.append((share, wish))
            self.served[wish.agent] += round(wish.really)
            self.order.append(wish.agent)

    def step(self) -> None:
        """One call ends, another goes."""
        share, wish = self.running.popleft()
        self.queue.end(share, wish.cost, wish.really)
        self.fill()


def test_agents_take_turns_and_each_is_served_in_its_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for ticket in ("a1", "a2", "a3", "b1", "b2", "c1"):
        queue.add(ticket, ticket[0])
    gone = []
    while len(queue):
        gone.append(queue.first())
        queue.take(10.0)
    assert gone == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_who_has_used_up_a_round_waits_for_the_others() -> None:
    server = Server(places=1)
    for _ in range(4):
        server.ask("long", QUANTUM)
    for _ in range(40):
        server.ask("short", QUANTUM / 10)
    server.fill()
    for _ in range(43):
        server.step()
    assert server.order[:12] == ["long", *["short"] * 10, "long"]
    assert server.order[:33].count("long") == 3


def test_a_debt_is_carried_over_the_rounds_that_it_is_worth() -> None:
    server = Server(places=1)
    server.ask("a", 10.0, really=3 * QUANTUM)
    for _ in range(100):
        server.ask("b", QUANTUM / 4)
        server.ask("a", QUANTUM / 4)
    server.fill()
    for _ in range(20):
        server.step()
    assert server.order[:13] == ["a", *["b"] * 12], "three rounds"
    assert server.order[13:15] in (["a", "b"], ["b", "a"])


def test_what_was_not_taken_is_given_back() -> None:
    server = Server(places=1)
    server.ask("a", 10 * QUANTUM, really=10.0)
    server.ask("a", 10.0)
    for _ in range(20):
        server.ask("b", QUANTUM / 4)
    server.fill()
    server.step()
    server.step()
    assert server.order[:3] in (["a", "b", "a"], ["a", "a", "b"])


def test_staying_away_earns_nothing() -> None:
    server = Server(places=1)
    for _ in range(100):
        server.ask("busy", QUANTUM)
    server.ask("idler", QUANTUM)
    server.fill()
    for _ in range(50):
        server.step()
    for _ in range(50):
        server.ask("idler", QUANTUM)
    before = server.served.copy()
    for _ in range(20):
        server.step()
    gained = server.served - before
    assert abs(gained["idler"] - gained["busy"]) <= 2 * QUANTUM, "half of it each, not all for the one that was away"


def test_calls_that_need_not_wait_count_as_well() -> None:
    queue: FairQueue[str] = FairQueue()
    running = [queue.pass_by("a", QUANTUM) for _ in range(2)]
    for ticket in ("b1", "b2", "a3", "c1"):
        queue.add(ticket, ticket[0])
    gone = []
    while len(queue):
        gone.append(queue.first())
        queue.take(1.0)
    assert gone == ["b1", "c1", "b2", "a3"], "what runs for an agent stands against its next call"
    for share in running:
        queue.end(share, QUANTUM, QUANTUM)


def test_a_target_that_nobody_else_wanted_is_not_held_against_anybody() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(1_000):  # alone, for an hour
        queue.end(queue.pass_by("a", QUANTUM), QUANTUM, QUANTUM)
    last = queue.pass_by("a", QUANTUM)
    for number in range(4):
        queue.add(f"b{number}", "b")
    queue.add("a", "a")
    gone = []
    while len(queue):
        gone.append(queue.first())
        queue.take(QUANTUM)
    assert gone.index("a") <= 2
    queue.end(last, QUANTUM, QUANTUM)


def test_nobody_is_lifted_by_what_others_are_only_expected_to_take() -> None:
    """A flood whose first calls are overestimated gets that back; who came meanwhile must not wait for it."""
    queue: FairQueue[str] = FairQueue()
    running = [queue.pass_by("flood", 2 * QUANTUM) for _ in range(2)]
    for number in range(40):
        queue.add(f"flood{number}", "flood")
    queue.add("victim", "victim")
    for share in running:
        queue.end(share, 2 * QUANTUM, 100.0)
    gone = [queue.take(100.0).agent for _ in range(3)]
    assert "victim" in gone


def test_whoever_leaves_has_taken_nothing() -> None:
    queue: FairQueue[str] = FairQueue()
    for ticket in ("a1", "a2", "b1", "c1"):
        queue.add(ticket, ticket[0])
    queue.remove("a1", "a")
    queue.remove("b1", "b")
    assert (len(queue), queue.first()) == (2, "a2")
    queue.remove("a2", "a")
    queue.remove("c1", "c")
    assert queue.idle
    assert repr(queue) == "FairQueue(0 waiting, 0 running, [])"


def test_names_are_forgotten_with_what_they_owe() -> None:
    queue: FairQueue[str] = FairQueue(shares_max=16)
    keeps_it_busy = queue.pass_by("busy", 1.0)
    for number in range(1_000):
        queue.end(queue.pass_by(f"typed-by-a-client-{number}", 50.0), 50.0, 50.0)
    assert len(queue._shares) <= 17
    queue.end(keeps_it_busy, 1.0, 1.0)
    assert not queue._shares


# --- the bound of the virtual token counter: 2 max(w_in L_in, w_out M) ------------------------------------------------

INPUT_MOST = 32_000
OUTPUT_MOST = 4_000


@given(
    seed=st.integers(0, 10_000),
    places=st.integers(1, 8),
    longest=st.tuples(st.integers(100, INPUT_MOST), st.integers(100, INPUT_MOST)),
)
def test_a_flood_of_a_hundred_times_the_calls_gets_no_more_than_its_share(
    seed: int, places: int, longest: tuple[int, int]
) -> None:
    """While both wait, their service differs by at most what the theory allows, however the calls are sized and
    however wrong the estimates are."""
    rng = Random(seed)
    server = Server(places)
    most = dict(zip(("flood", "calm"), longest, strict=True))
    bound = 2 * max(INPUT_MOST, OUTPUT * OUTPUT_MOST * places)

    def ask(agent: str) -> None:
        estimated = rng.randint(1, most[agent]) + OUTPUT * rng.randint(0, OUTPUT_MOST)
        really = rng.randint(1, most[agent]) + OUTPUT * rng.randint(0, OUTPUT_MOST)
        server.ask(agent, estimated, really)

    for _ in range(1_000):
        ask("flood")
    for _ in range(10):
        ask("calm")
    server.fill()
    while True:  # ends: one of them has no call left that waits
        if not all(server.queue._shares[agent].waiting for agent in most):
            break
        assert abs(server.served["flood"] - server.served["calm"]) <= bound
        server.step()
    calls = Counter(server.order)
    assert calls["calm"] == 10
    assert calls["flood"] < 1_000


def test_eight_agents_of_unequal_demand_are_served_alike() -> None:
    """Jain's index of what each got, while all of them wait: 1 is perfectly even."""
    rng, server = Random(1), Server(places=4)
    agents = {f"agent-{number}": 2**number for number in range(8)}  # calls a round: 1 to 128

    def demand(agent: str, size: int) -> None:
        while len(server.queue._shares[agent].waiting if agent in server.queue._shares else ()) < 2 * size:
            server.ask(agent, rng.randint(100, 40_000), rng.randint(100, 40_000))

    for _ in range(2_000):
        for agent, size in agents.items():
            demand(agent, size)
        server.fill()
        server.step()
    got = [server.served[agent] for agent in agents]
    assert sum(got) ** 2 / (len(got) * sum(each**2 for each in got)) >= 0.99


@given(seed=st.integers(0, 10_000), places=st.integers(1, 4))
def test_nobody_starves_and_no_place_is_idle_while_anybody_waits(seed: int, places: int) -> None:
    rng, server, asked = Random(seed), Server(places), Counter[str]()
    for _ in range(300):
        agent = rng.choice(("a", "a", "a", "a", "b", "c"))
        asked[agent] += 1
        server.ask(agent, rng.choice((1.0, 100.0, 50_000.0)), rng.choice((1.0, 100.0, 500_000.0)))
        if rng.random() < 0.6:
            server.fill()
        if server.running and rng.random() < 0.5:
            server.step()
    server.fill()
    while server.running:
        assert len(server.running) == places or not len(server.queue)
        server.step()
    assert Counter(server.order) == asked
    assert server.queue.idle
    assert not server.queue._shares
    assert not server.queue._rounds


@pytest.mark.parametrize("quantum", [100.0, QUANTUM])
def test_a_quantum_is_the_most_that_turns_may_be_apart(quantum: float) -> None:
    server = Server(places=1, quantum=quantum)
    for _ in range(3_000):
        server.ask("small", 100.0)
        server.ask("large", 5_000.0)
    server.fill()
    for _ in range(2_000):
        server.step()
        assert abs(server.served["small"] - server.served["large"]) <= quantum + 5_000


def test_inside_a_share_the_newest_may_go_first_and_agents_take_turns_all_the_same() -> None:
    queue: FairQueue[str] = FairQueue()
    for ticket in ("a1", "a2", "a3", "b1", "b2"):
        queue.add(ticket, ticket[0])
    queue.newest_first = True
    served = []
    while len(queue):
        served.append(queue.first())
        queue.take(1.0)
    assert served == ["a3", "b2", "a2", "b1", "a1"]


@pytest.mark.parametrize(
    ("waiting", "agent", "ahead", "modest"),
    [
        ("", "a", 0, True),
        ("aaaa", "a", 4, False),
        ("aaaa", "b", 1, True),
        ("ab", "c", 2, False),
        ("aaaabbbb", "c", 2, True),
        ("aaaaaab", "b", 4, False),
        ("aaaaaaab", "b", 4, True),
        ("aaaabbbb", "a", 8, False),
    ],
)
def test_before_one_more_call_of_an_agent_go_as_many_of_every_other(
    waiting: str, agent: str, ahead: int, modest: bool
) -> None:
    queue: FairQueue[str] = FairQueue()
    for number, each in enumerate(waiting):
        queue.add(f"{each}{number}", each)
    assert (queue.ahead(agent), queue.is_modest(agent)) == (ahead, modest)
