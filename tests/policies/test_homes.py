"""Runs are found where they were served last, by every process that maps the same memory."""

from __future__ import annotations

from policies.homes import BYTES, PROBED, TTL_S, Home, Homes

SLOT = 32


def test_a_run_is_at_home_where_it_was_served_last() -> None:
    homes = Homes()
    assert homes.find(7, 10.0) is None
    homes.move(7, Home(1, 500), 10.0)
    homes.move(7, Home(2, 900), 20.0)
    assert homes.find(7, 20.0) == Home(2, 900)
    assert homes.find(8, 20.0) is None


def test_after_an_hour_nobody_is_at_home() -> None:
    homes = Homes()
    homes.move(7, Home(1, 500), 10.0)
    assert homes.find(7, 9.0 + TTL_S) is not None
    assert homes.find(7, 10.0 + TTL_S) is None


def test_processes_that_share_memory_share_homes() -> None:
    memory = bytearray(BYTES)
    one, other = Homes(memory), Homes(memoryview(memory))
    one.move(2**64 - 1, Home(2**64 - 2, 2**40), 5.0)
    assert other.find(2**64 - 1, 5.0) == Home(2**64 - 2, 2**32 - 1)


def test_where_slots_are_taken_the_oldest_gives_way() -> None:
    homes = Homes(bytearray(PROBED * SLOT))
    for key in range(PROBED + 1):
        homes.move(key, Home(1, key), 10.0 + key)
    assert homes.find(0, 20.0) is None
    assert [homes.find(key, 20.0) for key in range(1, PROBED + 1)] == [Home(1, key) for key in range(1, PROBED + 1)]


def test_a_slot_that_two_have_written_at_once_is_empty() -> None:
    memory = bytearray(SLOT)
    homes = Homes(memory)
    homes.move(0, Home(5, 100), 10.0)
    torn = memory[:]
    homes.move(0, Home(6, 900), 11.0)
    memory[:16] = torn[:16]
    assert homes.find(0, 12.0) is None
    homes.move(0, Home(6, 900), 13.0)
    assert homes.find(0, 13.0) == Home(6, 900)


def test_what_an_earlier_start_of_the_machine_left_is_not_believed_and_gives_way_first() -> None:
    homes = Homes(bytearray(2 * SLOT))
    homes.move(1, Home(1, 1), 9_000.0)
    homes.move(2, Home(2, 2), 5.0)
    assert homes.find(1, 6.0) is None
    homes.move(3, Home(3, 3), 7.0)
    assert homes.find(2, 7.0) == Home(2, 2)


def test_empty_memory_holds_no_run_called_nought() -> None:
    assert Homes().find(0, 10.0) is None
    assert repr(Homes(bytearray(4 * SLOT))) == "Homes(4 slots)"
