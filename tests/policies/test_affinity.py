"""What targets are expected to have in memory: by what was sent there, by the home of a run, as they report it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from policies.affinity import (
    AWAY_S,
    BLOCKS_MAX,
    JUDGED,
    KV_TOKENS,
    TARGETS_MAX,
    Affinity,
    Promise,
    mixed,
    stable,
)
from policies.homes import BYTES, Homes
from policies.prefix import BLOCK_TOKENS, Prefix
from proxy.types import Traits
from tests.build import target, with_traits

KEEPS = Traits(prefix_cache=True, kv_tokens=100 * BLOCK_TOKENS)
ONE, TWO, THREE = POOL = tuple(with_traits(target(f"{name}/m"), KEEPS) for name in ("one", "two", "three"))


def prefix(blocks: int, *, run: int = 1, key: int | None = None) -> Prefix:
    """Of a run whose prompts all begin alike."""
    return Prefix(run if key is None else key, [run * 10_000 + at for at in range(blocks)], blocks * BLOCK_TOKENS, True)


def expected(affinity: Affinity, asked: Prefix, now: float = 1.0) -> list[float]:
    """In blocks."""
    found = affinity.expected(asked, POOL, now)
    return [round(found.get(target.id, 0.0) / BLOCK_TOKENS, 3) for target in POOL]


def test_a_prompt_is_expected_where_its_beginning_was_sent() -> None:
    affinity = Affinity()
    affinity.started(prefix(10), TWO, 1.0)
    assert expected(affinity, prefix(15)) == [0, 10, 0]
    assert expected(affinity, prefix(5)) == [0, 5, 0]
    assert expected(affinity, prefix(15, run=2)) == [0, 0, 0]


def test_at_home_a_part_is_expected_even_if_the_index_has_forgotten_it() -> None:
    affinity = Affinity()
    affinity.started(prefix(50), ONE, 1.0)
    affinity.started(prefix(100, run=2), ONE, 2.0)
    assert expected(affinity, prefix(60), 3.0) == [15, 0, 0]  # 0.3 of the last prompt
    assert expected(affinity, prefix(60), 3_602.0) == [0, 0, 0]


def test_who_has_no_run_has_no_home() -> None:
    affinity = Affinity()
    affinity.started(replace(prefix(50), run=False), ONE, 1.0)
    affinity.started(prefix(100, run=2), ONE, 2.0)
    assert expected(affinity, replace(prefix(60), run=False), 3.0) == [0, 0, 0]


def test_the_index_is_as_large_as_the_memory_is_said_to_be() -> None:
    affinity, unstated = Affinity(), with_traits(ONE, Traits(prefix_cache=True))
    affinity.started(prefix(5_000), unstated, 1.0)
    assert affinity.held_tokens(unstated.id) == KV_TOKENS // BLOCK_TOKENS * BLOCK_TOKENS
    affinity.started(prefix(5_000), ONE, 1.0)
    assert affinity.held_tokens(ONE.id) == 100 * BLOCK_TOKENS
    larger = with_traits(ONE, replace(KEEPS, kv_tokens=200 * BLOCK_TOKENS))
    affinity.started(prefix(5_000), larger, 1.0)
    assert affinity.held_tokens(ONE.id) == 200 * BLOCK_TOKENS
    affinity.started(prefix(5_000), with_traits(TWO, replace(KEEPS, kv_tokens=10**9)), 1.0)
    assert affinity._replicas[TWO.id].index.capacity == BLOCKS_MAX


def judged(affinity: Affinity, promise: Promise, cached: float, times: int = JUDGED) -> float:
    """The capacity afterwards, against what was stated."""
    for _ in range(times):
        affinity.ended(promise, int(cached), promise.asked)
    return affinity._replicas[promise.target].index.capacity / 100


@pytest.mark.parametrize(
    ("indexed", "cached", "size"),
    [
        (10_000, 0, 0.9),  # false hot
        (10_000, 6_900, 0.9),
        (10_000, 7_100, 1.0),
        (0, 9_000, 1.2),  # false cold
        (0, 6_000, 1.0),
        (4_900, 7_100, 1.2),
    ],
)
def test_an_index_is_corrected_by_what_its_target_reports(indexed: int, cached: int, size: float) -> None:
    affinity = Affinity()
    affinity.started(prefix(1), ONE, 1.0)
    promise = Promise(ONE.id, float(indexed), float(indexed), 10_000, 12_000)
    assert judged(affinity, promise, cached, JUDGED - 1) == 1.0
    assert judged(affinity, promise, cached, 1) == size


def test_corrections_stay_within_a_tenth_and_ten_times_of_what_was_stated() -> None:
    affinity = Affinity()
    affinity.started(prefix(1), ONE, 1.0)
    assert judged(affinity, Promise(ONE.id, 9e3, 9e3, 10_000, 12_000), 0, 50 * JUDGED) == 0.1
    assert judged(affinity, Promise(ONE.id, 0.0, 0.0, 10_000, 12_000), 10_000, 50 * JUDGED) == 10


def test_the_reports_of_tokens_are_compared_by_shares() -> None:
    affinity = Affinity()
    promise = Promise(ONE.id, 1_000.0, 1_000.0, 1_000, 2_000)
    affinity.started(prefix(1), ONE, 1.0)
    for _ in range(JUDGED):
        affinity.ended(promise, 2_000, 4_000)  # twice as many as the gate thought
    assert affinity._replicas[ONE.id].index.capacity == 100
    assert (affinity.told(ONE.id).expected, affinity.told(ONE.id).reported) == (2_000 * JUDGED, 2_000 * JUDGED)


def test_calls_that_do_not_go_on_with_a_run_correct_nothing() -> None:
    affinity = Affinity()
    affinity.started(prefix(1), ONE, 1.0)
    assert judged(affinity, Promise(ONE.id, 9e3, 9e3, 0, 12_000), 0) == 1.0
    affinity.ended(Promise("gone/m", 9e3, 9e3, 9, 12_000), 0, 12_000)
    affinity.ended(Promise(ONE.id, 9e3, 9e3, 9, 12_000), 0, 0)


def test_an_attempt_knows_what_was_expected_of_it() -> None:
    affinity = Affinity()
    assert affinity.started(prefix(10), ONE, 1.0) == Promise(ONE.id, 0.0, 0.0, 0, 2_560)
    assert affinity.started(prefix(20), ONE, 2.0) == Promise(ONE.id, 2_560.0, 2_560.0, 2_560, 5_120)
    assert affinity.started(prefix(20), TWO, 3.0) == Promise(TWO.id, 0.0, 0.0, 0, 5_120)


def test_a_run_whose_home_is_out_comes_back_to_it_within_five_minutes() -> None:
    affinity = Affinity()
    affinity.started(prefix(10), ONE, 1.0)
    affinity.out(ONE.id, 2.0)
    affinity.started(prefix(12), TWO, 3.0)
    affinity.back(ONE.id)
    affinity.lost(ONE.id)
    assert expected(affinity, prefix(14), 4.0) == [3, 12, 0]  # the home is still the first


def test_after_five_minutes_it_has_moved_for_good() -> None:
    affinity = Affinity()
    affinity.started(prefix(10), ONE, 1.0)
    affinity.out(ONE.id, 2.0)
    affinity.out(ONE.id, 200.0)  # still the same time out
    affinity.started(prefix(12), TWO, 2.0 + AWAY_S)
    affinity.lost(ONE.id)
    affinity.lost(TWO.id)
    assert expected(affinity, prefix(14), 303.0) == [0, 3.6, 0]


def test_a_run_that_leaves_a_healthy_home_has_moved() -> None:
    affinity = Affinity()
    affinity.started(prefix(10), ONE, 1.0)
    affinity.started(prefix(12), TWO, 2.0)
    affinity.lost(TWO.id)
    assert expected(affinity, prefix(14), 3.0) == [10, 3.6, 0]


def test_the_second_copy_of_a_late_call_moves_no_run() -> None:
    affinity = Affinity()
    affinity.started(prefix(10), ONE, 1.0)
    assert affinity.copied(prefix(12), TWO, 2.0) == Promise(TWO.id, 0.0, 0.0, 0, 12 * BLOCK_TOKENS)
    assert expected(affinity, prefix(14), 3.0) == [10, 12, 0]
    affinity.lost(ONE.id)
    affinity.lost(TWO.id)
    assert expected(affinity, prefix(14), 3.0) == [3, 0, 0]


def test_processes_that_share_homes_keep_a_run_where_any_of_them_served_it() -> None:
    memory = bytearray(BYTES)
    one, other = (Affinity(Homes(memory), processes=4) for _ in range(2))
    one.started(prefix(10), TWO, 1.0)
    assert expected(other, prefix(11), 2.0) == [0, 11, 0]
    assert expected(other, prefix(22), 2.0) == [0, 11, 0]
    assert other._of(TWO).index.capacity == 25  # a quarter of what it reads is seen here


def test_gates_that_cannot_tell_each_other_rank_the_targets_alike() -> None:
    one, other = Affinity(), Affinity()
    one.unshared = other.unshared = True
    firsts = set()
    for key in range(200):
        asked = prefix(10, key=stable(str(key)))
        ranked = one.candidates(asked, POOL)
        assert ranked == other.candidates(asked, tuple(reversed(POOL)))
        assert len(ranked) == 2
        assert one.expected(asked, ranked, 1.0) == {ranked[0].id: 2_304.0}
        firsts.add(ranked[0].id)
        without = tuple(each for each in POOL if each is not ranked[1])
        assert other.candidates(asked, without)[0] is ranked[0]  # a run moves only if its own target is out
    assert firsts == {each.id for each in POOL}
    one.unshared = False
    assert one.candidates(prefix(10), POOL) == POOL


def test_names_and_rankings_are_the_same_everywhere() -> None:
    assert stable("one/m") == 0x8529C309E81E3AFA
    assert len({mixed(key, stable("one/m")) for key in range(1_000)}) == 1_000


def test_targets_are_bounded() -> None:
    affinity = Affinity()
    for number in range(TARGETS_MAX + 5):
        affinity.started(prefix(2), with_traits(target(f"{number}/m"), KEEPS), 1.0)
    assert len(affinity._replicas) == len(affinity._by_id) == TARGETS_MAX
    assert affinity.held_tokens("0/m") == 0
    assert affinity.told("0/m").expected == 0
    affinity.out("0/m", 1.0)
    affinity.back("0/m")
    affinity.lost("0/m")
    assert repr(Affinity()) == "Affinity()"


def test_a_target_that_lost_a_prompt_is_not_asked_for_it_again() -> None:
    affinity = Affinity()
    affinity.started(replace(prefix(8), run=False), ONE, 0.0)
    affinity.started(replace(prefix(8), run=False), TWO, 0.0)
    affinity.lost(ONE.id)
    assert affinity.expected(replace(prefix(8), run=False), POOL, 1.0) == {TWO.id: 8 * BLOCK_TOKENS}


def test_only_so_many_beginnings_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.affinity.BEGINNINGS_MAX", 2)
    affinity = Affinity()
    for run in (1, 2, 3):
        affinity.started(replace(prefix(4, run=run), run=False), ONE, 0.0)
    found = [affinity.expected(replace(prefix(4, run=run), run=False), POOL, 1.0) for run in (1, 2, 3)]
    assert found == [{}, {ONE.id: 4 * BLOCK_TOKENS}, {ONE.id: 4 * BLOCK_TOKENS}]
