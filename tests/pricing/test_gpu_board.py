"""The integral that shares an engine's time out."""

from __future__ import annotations

from pricing.gpu_board import OwnBoard


def test_time_in_which_nothing_runs_is_nobodys() -> None:
    board = OwnBoard(0.0)
    time = board.step(100.0)
    assert (time.at, time.busy_s, time.integral_s) == (100.0, 0.0, 0.0)


def test_each_of_several_gets_its_part_of_every_instant() -> None:
    board = OwnBoard(0.0)
    board.step(0.0, change=1)
    board.step(2.0, change=3)
    assert board.in_flight == 4
    time = board.step(4.0)
    assert (time.busy_s, time.integral_s) == (4.0, 2.0 + 2.0 / 4)


def test_a_clock_that_looks_back_adds_nothing() -> None:
    board = OwnBoard(0.0)
    board.step(5.0, change=1)
    assert board.step(3.0).busy_s == 0.0
    assert board.step(6.0).busy_s == 1.0


def test_charges_add_up_and_the_stretch_for_idle_time_begins_where_it_is_told() -> None:
    board = OwnBoard(0.0)
    board.step(1.0, charged=5)
    board.step(2.0, charged=7)
    board.spread_since(1.5, 0.5)
    time = board.step(2.0)
    assert (time.charged_usd_nanos, time.since, time.since_busy_s) == (12, 1.5, 0.5)
    assert "OwnBoard" in repr(board)
