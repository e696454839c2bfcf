from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.demo.client import Reply
from proxy.demo.fleet import Tally
from proxy.demo.news import News

OUT = "east/sim-small is out: too many failures in a row; next trial in 4.6 s"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    made = tmp_path / "gate.log"
    made.touch()
    return made


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def news(log: Path, tally: Tally) -> Iterator[News]:
    made = News(log, tally)
    yield made
    made.close()


def turn(state: str, why: str) -> str:
    return json.dumps({"level": "info", "event": "breaker", "target": "east/sim-small", "state": state, "why": why})


def wrote(log: Path, text: str) -> None:
    with log.open("a") as out:
        out.write(text)


def test_who_goes_out_and_comes_back_is_told_once_and_trials_are_not(log: Path, news: News) -> None:
    assert list(news.look()) == []
    wrote(log, f"{turn('open', OUT)}\n{turn('half_open', 'is tried')}\n")
    assert list(news.look()) == [OUT]
    wrote(log, f"{turn('closed', 'east/sim-small is back')}\n")
    assert list(news.look()) == ["east/sim-small is back"]
    assert list(news.look()) == []


def test_a_line_that_is_being_written_is_read_when_it_is_whole(log: Path, news: News) -> None:
    line = f"{turn('open', OUT)}\n"
    wrote(log, line[:60])
    assert list(news.look()) == []
    wrote(log, line[60:])
    assert list(news.look()) == [OUT]


def test_other_lines_say_nothing_even_when_they_name_a_breaker(log: Path, news: News) -> None:
    wrote(log, '{"event":"call","run":"breaker","why":"x"}\nno json, but "breaker"\n')
    assert list(news.look()) == []


def test_second_copies_are_told_together_with_who_is_fastest_now(news: News, tally: Tally) -> None:
    for first_token_s in (0.3, 0.3, 0.3):
        tally.heard_of(0.0, Reply("x", first_token_s, "west/sim-small", "primary"))
        tally.heard_of(0.0, Reply("x", first_token_s - 0.1, "north/sim-large", "primary"))
    tally.heard_of(0.0, Reply("x", 0.01, "east/sim-small", "primary"))  # once is by chance
    tally.heard_of(0.0, None)
    assert list(news.look()) == []
    tally.heard_of(0.0, Reply("x", 0.5, "west/sim-small", "hedge"))
    assert list(news.look()) == ["hedged a call that was late: the second copy was faster; fastest now: north"]
    tally.heard_of(0.0, Reply("x", 0.5, "west/sim-small", "hedge"))
    tally.heard_of(0.0, Reply("x", 0.5, "west/sim-small", "hedge"))
    assert list(news.look()) == ["hedged 2 calls that were late: the second copy was faster; fastest now: north"]
    assert list(news.look()) == []


def test_who_is_fastest_is_not_guessed(news: News, tally: Tally) -> None:
    tally.heard_of(0.0, Reply("x", 0.5, "west/sim-small", "hedge"))
    assert list(news.look()) == ["hedged a call that was late: the second copy was faster"]
