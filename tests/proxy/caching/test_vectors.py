from __future__ import annotations

import math

import pytest

np = pytest.importorskip("numpy", reason="the extra headgate[semantic] is not installed")
vectors = pytest.importorskip("proxy.caching.vectors")


@pytest.mark.parametrize("numbers", [[], [0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_what_has_no_direction_is_no_vector(numbers: list[float]) -> None:
    assert vectors.unit(numbers) is None


def test_a_vector_has_length_1() -> None:
    assert vectors.unit([3.0, 4.0]).tolist() == pytest.approx([0.6, 0.8])


def test_the_nearest_come_first_with_their_cosines() -> None:
    kept = vectors.Vectors(2)
    for numbers in ([1, 0], [0, 1], [1, 1], [-1, 0]):
        kept.add(vectors.unit(numbers))
    found = kept.near(vectors.unit([1, 0.1]), 3)
    assert [at for at, _ in found] == [0, 2, 1]
    assert found[0][1] == pytest.approx(0.995, abs=1e-3)
    assert kept.near(vectors.unit([1, 0]), 100)[-1] == (3, pytest.approx(-1.0))


def test_nothing_is_near_where_nothing_is() -> None:
    assert vectors.Vectors(2).near(vectors.unit([1, 0]), 3) == []


def test_what_is_removed_is_not_found_and_its_place_is_used_again() -> None:
    kept = vectors.Vectors(2)
    first, second = kept.add(vectors.unit([1, 0])), kept.add(vectors.unit([0, 1]))
    kept.remove(first)
    assert len(kept) == 1
    assert kept.near(vectors.unit([1, 0.01]), 1)[0][1] < 0.1
    assert kept.add(vectors.unit([1, 1])) == first
    assert kept.near(vectors.unit([1, 1]), 1)[0][0] == first
    assert len(kept) == 2
    assert second != first


def test_among_many_the_nearest_are_found_through_their_sketches() -> None:
    chance = np.random.default_rng(5)
    kept = vectors.Vectors(200)
    rows = [vectors.unit(row) for row in chance.standard_normal((vectors.SKETCHED_ABOVE + 500, 200))]
    at = [kept.add(row) for row in rows]
    kept.remove(at[7])
    near = 0
    for number in range(8, 108):
        asked = vectors.unit(rows[number] + 0.04 * chance.standard_normal(200))
        (found, cosine), *_ = kept.near(asked, 8)
        assert found == at[number]
        assert cosine == pytest.approx(float(asked @ rows[number]), abs=1e-5)
        near += cosine > 0.85
    assert near > 50
    assert not any(found == at[7] for found, _ in kept.near(rows[7], 8))
    assert kept.size >= 200 * 4 * len(kept)
