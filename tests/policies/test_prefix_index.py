"""The index is an LRU of blocks that holds prompts from their beginning, whatever was touched in whatever order."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from policies.prefix_index import LISTED_LEAST, LISTED_MAX, PrefixIndex

# A prompt is a walk down a tree; blocks are named by their whole path, as chained hashes are.
WALKS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), max_size=60)


def blocks(walk: list[int]) -> list[int]:
    found, at = [], 1
    for step in walk:
        at = at * 3 + step + 1
        found.append(at)
    return found


def closed(index: PrefixIndex, walks: list[list[int]]) -> bool:
    """No block is held without those before it."""
    for walk in walks:
        held = [block in index for block in blocks(walk)]
        if held != sorted(held, reverse=True):
            return False
    return True


@given(walks=WALKS, capacity=st.integers(1, 20))
def test_it_holds_prompts_from_their_beginning_and_no_more_than_its_capacity(
    walks: list[list[int]], capacity: int
) -> None:
    index = PrefixIndex(capacity)
    for walk in walks:
        index.touch(blocks(walk))
        assert len(index) <= capacity
        assert closed(index, walks)


@given(walks=WALKS, capacity=st.integers(1, 20), listed=st.integers(0, 20))
def test_it_is_the_lru_that_touches_the_last_block_first(walks: list[list[int]], capacity: int, listed: int) -> None:
    index, model = PrefixIndex(capacity), OrderedDict[int, None]()
    for number, walk in enumerate(walks):
        index.touch(blocks(walk))
        for block in reversed(blocks(walk)):
            model[block] = None
            model.move_to_end(block)
        while len(model) > capacity:
            model.popitem(last=False)
        if number % (listed + 1) == 0:
            index._strike()
        assert set(index.touched) == set(model)
        assert index._listed == sum(len(each) for _, each in index._touches)


@given(walks=WALKS, asked=st.lists(st.integers(0, 2), min_size=1, max_size=8))
def test_a_search_finds_what_counting_finds(walks: list[list[int]], asked: list[int]) -> None:
    index = PrefixIndex(15)
    for walk in walks:
        index.touch(blocks(walk))
    counted = 0
    while counted < len(asked) and blocks(asked)[counted] in index:
        counted += 1
    assert index.matched(blocks(asked)) == counted


def test_lists_of_old_touches_are_bounded() -> None:
    index = PrefixIndex(100)
    prompt = list(range(80))
    for _ in range(1_000):
        index.touch(prompt)
    assert index._listed <= max(LISTED_LEAST, LISTED_MAX * 100) + len(prompt)
    assert len(index) == 80


def test_a_smaller_capacity_holds_from_the_next_touch_on() -> None:
    index = PrefixIndex(10)
    index.touch(list(range(10)))
    index.capacity = 4
    index.touch([100])
    assert [block for block in range(10) if block in index] == [0, 1, 2]
    assert repr(index) == "PrefixIndex(4 of 4 blocks)"


def test_what_is_lost_is_gone() -> None:
    index = PrefixIndex(10)
    index.touch([1, 2, 3])
    index.clear()
    assert index.matched([1, 2, 3]) == len(index) == 0
    index.touch([1])
    assert index.matched([1, 2]) == 1
