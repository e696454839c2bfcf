"""A scrape is of one instant, in short turns, and writes nothing twice."""

from __future__ import annotations

import pytest

from proxy.telemetry import ladders
from proxy.telemetry.exposition import HISTOGRAMS_A_TURN, NUMBERS_A_TURN, Exposition
from proxy.telemetry.family import Family, Label
from proxy.telemetry.labels import Labels
from proxy.telemetry.series import Table
from proxy.telemetry.text import OPENMETRICS, HistogramText, NumberText, format_for

ROUTE = Label("route")
CALLS = Family(name="calls_total", kind="counter", help="Calls.", labels=(ROUTE,))
WAIT = Family(name="wait_seconds", kind="histogram", help="Wait.", labels=(ROUTE,), ladder=ladders.WAIT)
ROUTES = 300


def table(routes: int = ROUTES) -> Table:
    labels = Labels(agents_max=1)
    labels.learn([f"r{number}" for number in range(routes)], [], agents=[], models=[])
    made = Table((CALLS, WAIT), labels)
    for number in range(routes):
        _ = made.numbers["calls_total"][f"r{number}",], made.histograms["wait_seconds"][f"r{number}",]
    return made


def whole(exposition: Exposition) -> tuple[bytes, int]:
    """The text, and in how many turns it was written."""
    pieces: list[bytes] = []
    turns = sum(1 for _ in exposition.turns(pieces))
    return b"".join(pieces), turns


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every child whose text was made."""
    found: list[object] = []
    for kind in (NumberText, HistogramText):
        write = kind.write

        def noted(self: object, read: object, write: object = write) -> bytes:
            found.append(self)
            assert callable(write)
            text = write(self, read)
            assert isinstance(text, bytes)
            return text

        monkeypatch.setattr(kind, "write", noted)
    return found


def test_no_turn_writes_more_than_its_share(written: list[object]) -> None:
    exposition, most = Exposition(table(), format_for("")), 0
    for _ in exposition.turns([]):
        most = max(most, len(written))
        assert len(written) <= NUMBERS_A_TURN
        assert sum(isinstance(each, HistogramText) for each in written) <= HISTOGRAMS_A_TURN
        written.clear()
    assert most == NUMBERS_A_TURN


def test_what_has_not_moved_is_not_written_again(written: list[object]) -> None:
    made = table()
    exposition = Exposition(made, format_for(OPENMETRICS))
    before, _ = whole(exposition)
    written.clear()
    assert whole(exposition) == (before, 0) and not written
    made.numbers["calls_total"]["r7",].value += 1
    made.histograms["wait_seconds"]["r8",].observe(0.3)
    after, turns = whole(exposition)
    assert (len(written), turns) == (2, 2)
    assert after == whole(Exposition(made, format_for(OPENMETRICS)))[0] != before


def test_a_scrape_is_of_the_instant_at_which_it_began() -> None:
    made = table()
    exposition, pieces = Exposition(made, format_for("")), list[bytes]()
    for number in range(ROUTES):
        made.numbers["calls_total"][f"r{number}",].value = 1
    turns = exposition.turns(pieces)
    for _ in turns:  # whatever happens between two of its turns
        for number in range(ROUTES):
            made.numbers["calls_total"][f"r{number}",].value += 1
            made.histograms["wait_seconds"][f"r{number}",].observe(0.1)
        _ = made.numbers["calls_total"]["other",]
    text = b"".join(pieces).decode()
    assert text.count("headgate_calls_total{") == text.count("} 1.0\n") == ROUTES
    assert 'headgate_wait_seconds_count{route="r299"} 0.0\n' in text
    assert whole(exposition)[0].count(b"headgate_calls_total{") == ROUTES + 1, "the newborn is in the next"


def test_two_scrapes_at_once_are_each_of_their_instant() -> None:
    made = table()
    exposition, first, second = Exposition(made, format_for("")), list[bytes](), list[bytes]()
    one = exposition.turns(first)
    for number in range(ROUTES):
        made.numbers["calls_total"][f"r{number}",].value = 5
    other, alive = exposition.turns(second), 2
    while alive:
        alive = sum(next(each, 0) is None for each in (one, other))
    assert b"".join(first).count(b"} 5.0\n") == 0
    assert b"".join(second).count(b"} 5.0\n") == ROUTES


def test_a_scrape_that_is_given_up_leaves_nothing_half_done() -> None:
    made = table()
    exposition = Exposition(made, format_for(""))
    next(exposition.turns([]))
    made.numbers["calls_total"]["r1",].value = 9
    assert whole(exposition)[0] == whole(Exposition(made, format_for("")))[0]
