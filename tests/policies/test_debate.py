from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.debate import longest, room_bytes, shortened, too_expensive


@pytest.mark.parametrize(("tokens", "room"), [(1, 8), (16, 128), (500, 4_000), (4_096, 4_000), (0, 4_000)])
def test_an_answer_has_room_for_a_thousand_tokens_or_for_twice_what_it_may_have(tokens: int, room: int) -> None:
    assert room_bytes(tokens) == room


@given(st.text(max_size=600), st.integers(8, 300))
def test_no_answer_takes_more_than_its_room(text: str, room: int) -> None:
    short = shortened(text, room)
    written = json.dumps(short, ensure_ascii=False).encode()
    assert len(written) <= max(room, 2)
    assert b"\\u" not in written.replace(b"\\\\", b""), "nothing that makes a hold suspicious"


@pytest.mark.parametrize("room", [8, 100, 4_000])
def test_the_longest_takes_all_of_it(room: int) -> None:
    assert len(json.dumps(longest(room))) == room


def test_a_short_one_is_shown_whole_and_of_a_long_one_both_ends() -> None:
    assert shortened("six times seven\n\tis 42", 100) == "six times seven\n\tis 42"
    short = shortened("begin " + "x" * 9_000 + " end", 200)
    assert (short[:6], short[-4:], "\n[...]\n" in short) == ("begin ", " end", True)
    assert len(short) > 180, "what room there is is used"


@pytest.mark.parametrize(("worst", "one", "refused"), [(100, 10, False), (101, 10, True), (0, 0, False), (1, 0, True)])
def test_a_debate_may_cost_so_many_calls(worst: int, one: int, refused: bool) -> None:
    assert too_expensive(worst, one, 10.0) is refused
