"""A row holds what breaker, places and learned speed know of a target."""

from __future__ import annotations

from random import Random

from policies.breaker import Breakers
from policies.breaker_report import rows
from policies.load import Loads
from policies.provider_limits import TargetRules
from policies.rate_limit import Rates
from policies.rooms import Rooms
from proxy.standing import standings
from tests.build import call, target

ONE, TWO = target("up/one"), target("up/two")


def test_what_is_known_of_a_target_stands_in_one_row() -> None:
    breakers, loads = Breakers(), Loads()
    rooms = Rooms(TargetRules(targets={"up/one": Rates(concurrency=4)}))
    room = rooms.of(ONE, 0.0)
    room.take(0, 0.0)
    ticket = loads.started(call(), ONE, 0.0)
    loads.first_event(ticket, 0.5)
    for _ in range(5):
        breakers.begin(ONE, 1.0).ended("failure", "upstream_error", now=1.0, rng=Random(1))
    one, two = standings(rows(breakers, (ONE, TWO), 1.0), rooms, loads)
    assert (one.state, one.why, one.last_failure) == ("open", "too many failures in a row", "upstream_error")
    assert one.retry_s is not None and 4.0 <= one.retry_s <= 5.0
    assert (one.calls, one.bad_share, one.out_of) == (5, 1.0, (1, 1))
    assert (one.in_flight, one.concurrency) == (1, 4.0)
    assert (one.first_token_s or one.reply_s) == 0.5
    assert (two.state, two.in_flight, two.concurrency, two.first_token_s, two.out_of) == (
        *("closed", 0, None, None),
        (0, 1),
    )
