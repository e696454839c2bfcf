from __future__ import annotations

import pytest

pytest.importorskip("numpy", reason="the extra headgate[semantic] is not installed")
questions = pytest.importorskip("loadtests.replay.questions")


@pytest.fixture(scope="module")
def made() -> object:
    return questions.world(None, seed=0)


@pytest.mark.slow
def test_made_up_pairs_are_near_and_hard(made: object) -> None:
    same = sum(pair.same for pair in made.pairs)  # type: ignore[attr-defined]
    assert len(made.pairs) > 1_000  # type: ignore[attr-defined]
    assert same < len(made.pairs) - 100  # type: ignore[attr-defined]


def test_an_answer_is_that_of_all_texts_that_ask_the_same() -> None:
    pair = questions.Pair
    answer = questions._answers([pair("a", "b", True), pair("b", "c", True), pair("c", "d", False)])
    assert answer["a"] == answer["b"] == answer["c"] != answer["d"]


@pytest.mark.slow
def test_a_stream_is_the_same_for_the_same_seed_and_some_pairs_are_popular(made: object) -> None:
    asked = made.asked(3, pairs=50, requests=2_000)  # type: ignore[attr-defined]
    assert asked == made.asked(3, pairs=50, requests=2_000)  # type: ignore[attr-defined]
    counts = sorted((asked.count(text) for text in set(asked)), reverse=True)
    assert counts[0] > 10 * counts[-1]


@pytest.mark.slow
def test_a_fixed_threshold_is_wrong_where_the_near_ask_for_something_else(made: object) -> None:
    asked = made.asked(1, pairs=100, requests=1_000)  # type: ignore[attr-defined]
    low, high = questions.FixedThreshold(0.85, 400), questions.FixedThreshold(0.9999, 400)
    for text in asked:
        low.ask(made, text)
        high.ask(made, text)
    assert low.hits > high.hits
    assert low.wrong > 0.05 * low.hits
    assert high.wrong == 0
    found = questions.at_hit_rate(made, asked, low.hits // 2)
    assert found.threshold > 0.85
