from __future__ import annotations

import pytest

from proxy.cli.top_keys import FILTER_MAX, SORTS, VIEWS, Look, pressed


def after(keys: str, look: Look | None = None) -> Look:
    now = look or Look()
    for key in keys:
        now = pressed(now, key)
    return now


@pytest.mark.parametrize(("key", "view"), enumerate(VIEWS, 1))
def test_a_number_is_a_view(key: int, view: str) -> None:
    assert after(str(key)).view == view


def test_s_goes_round_the_orders() -> None:
    assert after("s").sort == SORTS[1]
    assert after("s" * len(SORTS)).sort == SORTS[0]


def test_a_filter_is_typed_kept_and_dropped() -> None:
    typing = after("/pq1")
    assert (typing.filter, typing.typing, typing.over, typing.view) == ("pq1", True, False, "agents")
    assert after("\x7f", typing).filter == "pq"
    kept = after("\r", typing)
    assert (kept.filter, kept.typing) == ("pq1", False)
    assert after("\x1b", typing) == Look()
    assert after("\x1b", kept).filter == ""
    assert len(after("/" + "x" * 100).filter) == FILTER_MAX


def test_space_pauses_h_narrows_and_q_ends() -> None:
    assert after(" ").paused and not after("  ").paused
    assert after("h").hedged and not after("hh").hedged
    assert after("q").over and after("\x03").over and after("/\x03").over


def test_other_keys_do_nothing() -> None:
    assert after("xyz06789\t") == Look()
