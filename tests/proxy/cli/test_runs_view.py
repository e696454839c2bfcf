"""How runs look in a terminal: nothing of a client's name can bite, and what is left out is said."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from msgspec import structs

from proxy.cli import runs_view
from proxy.cli.table import Page
from proxy.state.run_report import Governed, Raised, Runs, RunTree, ToppedUp, unrecorded
from tests.proxy.cli.test_requests import ROW


def text(lines: Iterable[str]) -> list[str]:
    return list(lines)


PAGE = Page(sys.stdout)


def test_without_runs_the_list_says_how_to_make_one() -> None:
    assert "/runs/RUN/v1" in text(runs_view.listed(Runs([], None), PAGE))[0]


def test_a_live_run_shows_who_stops_it_and_what_is_in_flight() -> None:
    base = unrecorded("low", "team:red", "top", ("a",))
    row = structs.replace(base.run, state="paused", stopped_by="top", in_flight=2)
    tree: RunTree = structs.replace(base, run=row, truncated=True)
    lines = text(runs_view.tree(tree, PAGE))
    assert lines[0] == "run low (a): paused by top, 2 in flight, 0 calls, $0.00"
    assert lines[-1] == "the tree is larger than what is shown; sums are of all of it"
    cells = text(runs_view.listed(Runs([row], None), PAGE))[1].split()
    assert cells[:5] == ["low", "team:red", "a", "paused", "2"]


def test_a_call_of_the_gates_own_is_marked_in_the_tree() -> None:
    base = unrecorded("r", "team:red", None, ("planner",))
    lines = text(runs_view.tree(structs.replace(base, calls=[ROW, structs.replace(ROW, agent_source="gate")]), PAGE))
    assert ["small (gate)" in line for line in lines[2:4]] == [False, True]


def test_a_kill_says_what_was_cut_and_what_is_still_open() -> None:
    done = Governed("r", "team:red", "killed", None, interrupted=3, draining=1, cost_usd_nanos=1_500_000, running=0)
    assert text(runs_view.governed(done, PAGE)) == [
        "run r is killed",
        "3 calls in flight were cut: $0.001500",
        "1 of them are not billed yet: their provider goes on, and is read to the end",
    ]


def test_a_pause_says_what_goes_on() -> None:
    done = Governed(
        "r", "team:red", "paused", "top", interrupted=0, draining=0, cost_usd_nanos=0, running=2, repeated=True
    )
    assert text(runs_view.governed(done, PAGE)) == [
        "run r is paused by top (it was already)",
        "2 calls in flight were left to end",
    ]


def test_a_top_up_says_what_there_is_now() -> None:
    done = ToppedUp("agent:a", "tokens", 50, [Raised("day", 150, 20, 130)])
    assert text(runs_view.topped_up(done, PAGE)) == ["agent:a: 50 more", "tokens per day: 130 of 150 left"]


def test_one_call_is_not_several() -> None:
    cut = Governed("r", "team:red", "paused", None, interrupted=1, draining=0, cost_usd_nanos=5_000, running=1)
    assert text(runs_view.governed(cut, PAGE))[1:] == [
        "1 call in flight was cut: $0.000005",
        "1 call in flight was left to end",
    ]
