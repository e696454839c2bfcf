from __future__ import annotations

import pytest

from proxy.caching import standings
from proxy.caching.standings import Standings


def test_a_route_keeps_what_was_learnt_of_it() -> None:
    kept = Standings()
    one = kept.of(b"a")
    assert kept.of(b"a") is one
    assert kept.of(b"b") is not one
    kept.forget()
    assert kept.of(b"a") is not one


def test_those_that_were_asked_for_last_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standings, "ROUTES_MAX", 2)
    kept = Standings()
    one, two = kept.of(b"a"), kept.of(b"b")
    kept.of(b"a")
    kept.of(b"c")
    assert kept.of(b"a") is one
    assert kept.of(b"b") is not two
