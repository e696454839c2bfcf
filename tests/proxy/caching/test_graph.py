from __future__ import annotations

import pytest

np = pytest.importorskip("numpy", reason="the extra headgate[semantic] is not installed")
pytest.importorskip("usearch.index", reason="the extra headgate[semantic-large] is not installed")
graph = pytest.importorskip("proxy.caching.graph")
vectors = pytest.importorskip("proxy.caching.vectors")


def test_a_graph_finds_what_the_array_found_by_the_same_numbers() -> None:
    chance = np.random.default_rng(5)
    kept = vectors.Vectors(32)
    rows = [vectors.unit(row) for row in chance.standard_normal((500, 32))]
    at = [kept.add(row) for row in rows]
    walked = graph.Graph(32, [(each, kept.row(each)) for each in at])
    for number in range(50):
        (found, cosine), *_ = walked.near(rows[number], 3)
        assert found == at[number]
        assert cosine == pytest.approx(1.0, abs=1e-4)
    walked.remove(at[3])
    assert walked.near(rows[3], 1)[0][0] != at[3]
    assert walked.add(rows[3]) == 500
    assert walked.near(rows[3], 1)[0][0] == 500
    assert len(walked) == 500
    assert walked.size > 0


def test_an_empty_one_finds_nothing() -> None:
    assert graph.Graph(4).near(vectors.unit([1, 0, 0, 0]), 3) == []
