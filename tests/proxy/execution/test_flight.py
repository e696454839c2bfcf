from __future__ import annotations

import asyncio
from random import Random

import pytest
from msgspec import structs

from proxy.errors import ProxyError
from proxy.execution.flight import KEPT_MAX, ROOM_LEAST, STEP, Answer, Flight
from proxy.execution.flights import Flights
from proxy.types import Call, Head, Identity
from tests.build import call

BIG = 1 << 30


class Client:
    def __init__(self) -> None:
        self.did: list[str] = []
        self.left = False
        self.shared: Flight | None = None

    def share(self, flight: Flight | None) -> None:
        self.shared = flight

    def stay(self) -> None:
        self.did.append("stay")

    def go(self) -> None:
        self.did.append("go")


def same() -> Call:
    identity = Identity(key_id="k", agent="a", run="r")
    return structs.replace(call(), identity=identity, raw=b'{"model":"m"}', endpoint="chat", head=Head("m"))


def flying(flights: Flights, kept_max: int = BIG) -> tuple[Flight, Client]:
    client = Client()
    flight = flights.begin(same(), client)
    flight.take_off(ANSWER, None, kept_max)
    return flight, client


ANSWER: Answer = None  # type: ignore[assignment]  # nobody asks it here


# --- which call is the same ------------------------------------------------------------------------------------------


def test_the_same_call_is_found_while_it_runs() -> None:
    flights = Flights()
    assert flights.find(same()) is None
    flight = flights.begin(same(), Client())
    assert flights.find(structs.replace(same(), id="another", client_retry=1, deadline=1.0)) is flight
    flight.close()
    assert flights.find(same()) is None
    assert repr(flights) == "Flights(0 calls, 0 bytes kept)"


def test_of_several_the_newest_is_found() -> None:
    flights = Flights()
    older, newer = flights.begin(same(), Client()), flights.begin(same(), Client())
    assert flights.find(same()) is newer
    newer.close()
    assert flights.find(same()) is older


@pytest.mark.parametrize(
    "other",
    [
        structs.replace(same(), identity=structs.replace(same().identity, key_id="l")),
        structs.replace(same(), identity=structs.replace(same().identity, agent="b")),
        structs.replace(same(), identity=structs.replace(same().identity, run="s")),
        structs.replace(same(), identity=structs.replace(same().identity, run=None)),
        structs.replace(same(), identity=structs.replace(same().identity, parent_run="s")),
        structs.replace(same(), endpoint="completions"),
        structs.replace(same(), raw=b'{"model":"n"}'),
        structs.replace(same(), raw=b'{"model":"m"} '),
        structs.replace(same(), head=Head("m", content_type="multipart/form-data; boundary=x")),
    ],
)
def test_whatever_differs_it_is_another_call(other: Call) -> None:
    flights = Flights()
    flights.begin(same(), Client())
    assert flights.find(other) is None


def test_no_two_random_calls_meet_that_are_not_the_same() -> None:
    rng, flights = Random(1), Flights()

    def some() -> Call:
        who = Identity(rng.choice("kl"), rng.choice("ab"), run=rng.choice(("r", "s", None)))
        raw = bytes(rng.choice(b"xy") for _ in range(rng.randint(1, 2)))
        endpoint = rng.choice(("chat", "completions"))
        return structs.replace(same(), identity=who, raw=raw, endpoint=endpoint)  # type: ignore[arg-type]

    met = 0
    for _ in range(20_000):
        flight, asking = flights.begin(some(), Client()), some()
        found = flights.find(asking)
        theirs, own = flight.call, asking
        equal = (theirs.identity, theirs.endpoint, theirs.raw) == (own.identity, own.endpoint, own.raw)
        assert (found is flight) == equal
        met += equal
        flight.close()
    assert met > 50


# --- those who join --------------------------------------------------------------------------------------------------


def test_the_first_who_joins_has_the_client_stay_and_the_last_lets_it_go() -> None:
    client = Client()
    flight = Flights().begin(same(), client)
    flight.join()
    flight.join()
    assert client.did == ["stay"]
    flight.leave()
    assert client.did == ["stay"]
    flight.leave()
    assert client.did == ["stay", "go"]


def test_whoever_leaves_after_the_call_is_over_does_nothing_to_its_client() -> None:
    client = Client()
    flight = Flights().begin(same(), client)
    flight.join()
    flight.close()
    flight.leave()
    assert client.did == ["stay"]


async def test_news_wake_everybody_and_a_cancellation_only_one() -> None:
    flight, _ = flying(Flights())
    woken: list[int] = []

    async def wait(number: int) -> None:
        await flight.news()
        woken.append(number)

    waiting = [asyncio.get_running_loop().create_task(wait(number)) for number in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.sleep(0)
    flight.keep(b"a")
    await asyncio.wait(waiting)
    assert sorted(woken) == [0, 2]
    assert flight.waiting == []


def test_an_error_is_not_shared_as_bytes_and_comes_too_late_for_a_whole_reply() -> None:
    flight, client = flying(Flights())
    flight.fail(ProxyError("upstream_broken", "x"))
    assert client.shared is None
    assert flight.closed
    whole, client = flying(Flights())
    whole.end()
    whole.fail(ProxyError("internal", "x"))
    assert whole.error is None


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_room_is_taken_in_steps_and_given_back() -> None:
    flights = Flights()
    flight, _ = flying(flights)
    assert flights.kept == ROOM_LEAST
    for _ in range(100):
        flight.keep(b"x" * 1_000)
        assert flight.size <= flight.room == flights.kept <= 2 * max(flight.size, ROOM_LEAST)
    flight.close()
    flight.close()
    assert flights.kept == 0


def test_a_reply_that_is_too_long_is_forgotten() -> None:
    flights = Flights()
    flight, client = flying(flights)
    flight.keep(b"x" * KEPT_MAX)
    assert flights.find(same()) is flight
    flight.keep(b"x")
    assert flights.find(same()) is None
    assert (flight.pieces, client.shared, flights.kept) == ([], None, 0)


def test_where_all_together_are_too_long_a_new_stream_is_not_kept() -> None:
    flights = Flights()
    flying(flights, ROOM_LEAST)
    second, client = flying(flights, ROOM_LEAST)
    assert client.shared is None
    assert not second.open
    assert flights.kept == ROOM_LEAST


def test_a_piece_that_is_too_long_by_itself_is_there_for_those_who_have_joined() -> None:
    flight, _ = flying(Flights())
    flight.join()
    flight.keep(b"x" * 3 * KEPT_MAX)
    assert (flight.dropped, len(flight.pieces)) == (0, 1)


def test_for_those_who_have_joined_the_end_of_a_long_reply_is_kept() -> None:
    flights = Flights()
    flight, client = flying(flights)
    flight.join()
    for number in range(300):
        flight.keep(bytes([number % 256]) * 10_000)
    assert client.shared is flight
    assert flights.find(same()) is None
    kept = sum(map(len, flight.pieces))
    assert KEPT_MAX - STEP < kept <= KEPT_MAX + 2 * STEP
    assert flight.dropped + len(flight.pieces) == 300
    assert flight.pieces[-1][0] == 299 % 256
    flight.leave()
    assert (flight.pieces, client.shared, flights.kept) == ([], None, 0)
