from __future__ import annotations

import pytest

from loadtests.replay.prompt_caches import Ask, Ttl, Vendor, runs, share
from loadtests.replay.traces import found

TOKENS = 640


def ask(at: float, blocks: int = 10, *, first: int = 0, model: str = "m") -> Ask:
    return Ask("r", 0, at, model, 64 * blocks, 0, ((first, first + blocks - 1),))


def bill(*asked: tuple[Ask, Ttl], covers: bool = False) -> float:
    """Of the last call."""
    vendor = Vendor(covers=covers)
    before = 0.0
    for each, ttl in asked:
        before = vendor.cost
        vendor.answer(each, ttl)
    return vendor.cost - before


def test_what_is_new_is_written_and_what_is_there_is_read() -> None:
    assert bill((ask(0), "5m")) == 1.25 * TOKENS
    assert bill((ask(0), "1h")) == 2.0 * TOKENS
    assert bill((ask(0), "5m"), (ask(300, 12), "5m")) == pytest.approx(0.1 * TOKENS + 1.25 * 128)
    assert bill((ask(0), "5m"), (ask(0, model="n"), "5m")) == 1.25 * TOKENS
    assert bill((ask(0), "5m"), (ask(0, first=20), "5m")) == 1.25 * TOKENS
    vendor = Vendor(covers=False)
    vendor.answer(Ask("r", 0, 0.0, "m", 100, 7, ()), "5m")
    assert (vendor.cost, vendor.uncached) == (1.25 * 100 + 35, 135)


def test_a_life_ends_so_long_after_the_last_use() -> None:
    assert bill((ask(0), "5m"), (ask(301), "5m")) == 1.25 * TOKENS
    assert bill((ask(0), "5m"), (ask(299), "5m"), (ask(598), "5m")) == pytest.approx(0.1 * TOKENS)
    assert bill((ask(0), "1h"), (ask(3_599), "5m")) == pytest.approx(0.1 * TOKENS)
    assert bill((ask(0), "1h"), (ask(3_601), "5m")) == 1.25 * TOKENS


def test_a_longer_life_covers_what_is_only_read_by_the_trait_alone() -> None:
    calls: list[tuple[Ask, Ttl]] = [(ask(0), "5m"), (ask(10, 12), "1h"), (ask(1_000, 12), "5m")]
    assert bill(*calls) == 1.25 * 768, "its beginning is gone, so all of it is"
    assert bill(*calls, covers=True) == pytest.approx(0.1 * 768)


def test_a_prompt_that_turns_off_in_the_middle_is_read_to_there() -> None:
    other = Ask("r", 0, 1.0, "m", 64 * 10, 0, ((0, 4), (20, 24)))
    assert bill((ask(0), "5m"), (other, "5m")) == pytest.approx(0.1 * 320 + 1.25 * 320)


@pytest.mark.slow
def test_made_up_runs_are_the_same_for_the_same_seed_and_profit_from_a_cache() -> None:
    made = runs(None, 3)
    assert made == runs(None, 3) != runs(None, 4)
    assert 0.1 < share(made, lambda ask: "5m", covers=False) < 0.3


@pytest.mark.slow
def test_recorded_runs_cost_what_was_measured_of_them() -> None:
    folder = found()
    if folder is None:
        pytest.skip("traces not found: set HEADGATE_TRACES to the folder that holds agent_sessions.jsonl.gz")
    recorded = runs(folder, 0)
    assert share(recorded, lambda ask: "5m", covers=False) == pytest.approx(0.211, rel=0.01)
    assert share(recorded, lambda ask: "1h", covers=False) == pytest.approx(0.190, rel=0.01)
