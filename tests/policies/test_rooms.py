"""Rooms are shared by name, change with the rules, and take bounded space."""

from __future__ import annotations

from math import inf

from policies.provider_limits import TargetRules, Told
from policies.rate_limit import Rates
from policies.rooms import Rooms
from tests.build import target


def test_targets_of_one_provider_share_its_limit() -> None:
    rooms = Rooms(TargetRules(providers={"p": Rates(concurrency=2)}))
    one, other, elsewhere = (rooms.of(target(id), 1000.0) for id in ("p/a", "p/b", "q/a"))
    one.take(0, 1000.0)
    assert other.fits(0, 1000.0)
    other.take(0, 1000.0)
    assert not one.fits(0, 1000.0)
    assert elsewhere.fits(0, 1000.0)
    assert rooms.running == 2
    assert [rooms.running_at(id) for id in ("p/a", "p/b", "p/nobody")] == [1, 1, 0]
    assert rooms.of(target("p/a"), 1000.0) is one


def test_new_rules_hold_for_rooms_that_exist_and_keep_what_was_taken() -> None:
    rooms = Rooms(TargetRules())
    room = rooms.of(target("p/a"), 1000.0)
    room.take(0, 1000.0)
    rooms.replace(TargetRules({"p/a": Rates(rpm=2)}, {"p": Rates(concurrency=1)}), 1000.0)
    assert not room.fits(0, 1000.0), "the call that runs counts"
    room.release()
    for fits in (True, True, False):
        assert room.fits(0, 1000.0) is fits
        room.take(0, 1000.0)
        room.release()
    rooms.replace(TargetRules(), 1000.0)
    assert room.fits(0, 1000.0)


def test_rooms_that_are_not_in_use_make_place_for_others() -> None:
    rooms = Rooms(TargetRules(), rooms_max=4)
    busy = rooms.of(target("p/busy"), 1000.0)
    busy.take(0, 1000.0)
    for number in range(100):
        rooms.of(target(f"p/{number}"), 1000.0)
        assert len(rooms) <= 4
    assert rooms.of(target("p/busy"), 1000.0) is busy
    assert "1 running" in repr(rooms)


def test_the_share_that_is_left_is_that_of_the_target_or_the_least_of_a_providers() -> None:
    rooms = Rooms(TargetRules())
    rooms.of(target("p/a"), 1000.0).told(Told("requests", 30, 60, 30.0), 1000.0, asked_since=0)
    rooms.of(target("p/b"), 1000.0).told(Told("requests", 6, 60, 54.0), 1000.0, asked_since=0)
    assert [round(rooms.ratio(id, "requests", 1000.0), 3) for id in ("p/a", "p/b", "p/c", "p/*", "q/*")] == [
        0.5,
        0.1,
        1.0,
        0.1,
        1.0,
    ]


def test_what_a_target_was_found_to_bear_while_it_failed_can_be_forgiven() -> None:
    rooms = Rooms(TargetRules(adaptive={"p": "refusals"}))
    for id in ("p/a", "p/b"):
        rooms.of(target(id), 1000.0).timed_out(1000.0)
    rooms.forgive("p/a")
    rooms.forgive("p/nobody")
    assert [rooms.concurrency(id) for id in ("p/a", "p/b", "p/nobody")] == [inf, 11, inf]
    rooms.replace(TargetRules(), 1000.0)
    assert rooms.concurrency("p/b") == inf, "it is not to be learned any more"
    rooms.replace(TargetRules({"p/b": Rates(concurrency=3)}, adaptive={"p": "started"}), 1000.0)
    assert [rooms.concurrency(id) for id in ("p/a", "p/b")] == [16, 3]
