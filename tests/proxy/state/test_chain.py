from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.state.chain import GENESIS, link

VALUES = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | st.binary(max_size=40)
)


def test_a_hash_is_sha_256_over_the_one_before_and_the_row() -> None:
    """By hand: an array of five, the text ab, 1, 1.0, nothing, one byte."""
    row = bytes.fromhex("95 a26162 01 cb3ff0000000000000 c0 c40107")
    assert link(GENESIS, ("ab", 1, 1.0, None, b"\x07")) == sha256(bytes(32) + row).digest()


@given(st.lists(VALUES, max_size=6), st.lists(VALUES, max_size=6))
def test_different_rows_have_different_hashes(one: list[str], other: list[str]) -> None:
    same = [(type(value), value) for value in one] == [(type(value), value) for value in other]
    if not same and 0.0 not in one + other:  # -0.0 equals 0.0
        assert link(GENESIS, one) != link(GENESIS, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(("ab", "c"), ("a", "bc")), ((1,), (1.0,)), ((1,), ("1",)), (("",), (None,)), (("a",), (b"a",)), ((), (None,))],
)
def test_no_row_can_pass_for_another(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert link(GENESIS, one) != link(GENESIS, other)


def test_the_same_row_after_another_has_another_hash() -> None:
    assert link(GENESIS, ("a",)) != link(link(GENESIS, ("a",)), ("a",))


@pytest.mark.parametrize("value", ["\udc80", 2**64])
def test_what_no_ledger_can_hold_is_not_hashed(value: str | int) -> None:
    with pytest.raises((UnicodeEncodeError, OverflowError)):
        link(GENESIS, (value,))
